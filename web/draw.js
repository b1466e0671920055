// Draws a digit, runs the network on it, and shows what happens inside: input, accumulators, weights, and the cost of
// the input in additions.

import { bar, bytes, button, canvas, colour, element, fail, input, made, pen, percent, thousands } from './page.js';
import { prepare } from './digit.js';

/** @typedef {import('./page.js').Page} Page @typedef {import('./page.js').Layer} Layer */

const WIDE = 28;
const PEN = 22;

/** The trits of a matrix, row after row: src/ternary.rs. @param {Uint32Array} words @param {Layer} layer */
export function unpacked(words, { rows, cols }) {
    const perRow = Math.ceil(cols / 16);
    const trits = new Int8Array(rows * cols);
    for (let row = 0; row < rows; row++) {
        for (let col = 0; col < cols; col++) {
            const [word, i] = [words[row * perRow + (col >> 4)], col & 15];
            trits[row * cols + col] = ((word >>> (8 * (i & 3) + 2 * (i >> 2))) & 3) - 1;
        }
    }
    return trits;
}

/** The part of a page that reads digits. */
export class Drawing {
    /** @param {Page} page */
    constructor(page) {
        this.page = page;
        this.board = canvas('canvas');
        this.ink = pen(this.board);
        /** @type {Int8Array[]} */
        this.trits = [];
        /** @type {{ plus: Uint32Array, minus: Uint32Array }[]} */
        this.counts = [];
        /** @type {Uint8Array | undefined} */
        this.pixels = undefined;
        /** @type {Int32Array} */
        this.first = new Int32Array(0);
        this.wanted = false;
        this.running = false;
        this.unit = 0;
        /** Whether a visitor has chosen the unit. Until then it is the one with the largest sum. */
        this.picked = false;
    }

    /** Prepares the shaders and the page. */
    async begin() {
        const { draw } = this.page.data;
        await this.page.replay.prepare('draw');
        this.clear();
        this.figures();
        const classes = draw.layers[draw.layers.length - 1].rows;
        const bar = (/** @type {number} */ i) => made('li', '', made('span', '', String(i)), made('span', 'bar', made('i', '')), made('span', 'share', ''));
        element('bars').replaceChildren(...Array.from({ length: classes }, (_, i) => bar(i)));
        element('examples').replaceChildren(...draw.examples.map(({ label, pixels }) => {
            const small = document.createElement('canvas');
            [small.width, small.height] = [WIDE, WIDE];
            const image = bytes(pixels);
            paint(small, image, (value) => [value, value, value]);
            const choice = made('button', '', small);
            choice.setAttribute('type', 'button');
            choice.setAttribute('aria-label', `A ${label} of the test set`);
            choice.addEventListener('click', () => this.show(image));
            return choice;
        }));
        input('unit').max = String(draw.layers[0].rows - 1);
        input('unit').addEventListener('input', () => this.choose(Number(input('unit').value)));
        canvas('weights').addEventListener('click', (event) => {
            const { columns, tile } = this.grid();
            const scale = canvas('weights').width / canvas('weights').clientWidth;
            const [x, y] = [event.offsetX, event.offsetY].map((at) => Math.floor((at * scale) / tile));
            if (y * columns + x < draw.layers[0].rows) this.choose(y * columns + x);
        });
        button('clear').addEventListener('click', () => this.clear());
        this.listen();
        matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.weights().then(() => this.refresh()));
        await this.weights();
        const example = draw.examples[7] ?? draw.examples[0];
        if (example) this.show(bytes(example.pixels));
        await this.settled();
    }

    /** Places for the input and for the accumulators of each layer. */
    figures() {
        const figure = (/** @type {string} */ id, /** @type {string} */ words) => {
            const view = document.createElement('canvas');
            [view.id, view.className] = [id, 'pixels'];
            view.setAttribute('role', 'img');
            view.setAttribute('aria-label', words);
            return made('figure', '', view, made('figcaption', '', words));
        };
        const { layers } = this.page.data.draw;
        const last = layers.length - 1;
        const words = (/** @type {number} */ i, /** @type {number} */ rows) => i === last
            ? `Layer ${i + 1}: ${rows} sums, one for each digit. The largest one wins.`
            : `Layer ${i + 1}: ${rows} sums of ${layers[i].cols} terms each. Red sums go on, blue ones are below 0 and become 0.`;
        element('flow').replaceChildren(
            figure('seen', 'The input: 28 × 28 pixels from 0 to 255'),
            ...layers.map(({ rows }, i) => figure(`acc-${i}`, words(i, rows))),
        );
    }

    /** Draws by pointer and by keyboard. */
    listen() {
        const { board, ink } = this;
        /** @type {[number, number] | undefined} */
        let last;
        let [x, y, down] = [140, 140, false];
        const stroke = (/** @type {number} */ toX, /** @type {number} */ toY) => {
            ink.beginPath();
            ink.moveTo(...(last ?? /** @type {[number, number]} */ ([toX, toY])));
            ink.lineTo(toX, toY);
            ink.stroke();
            last = [toX, toY];
            this.changed();
        };
        const place = (/** @type {PointerEvent} */ event) => {
            const box = board.getBoundingClientRect();
            return /** @type {[number, number]} */ ([((event.clientX - box.left) * board.width) / box.width, ((event.clientY - box.top) * board.height) / box.height]);
        };
        board.addEventListener('pointerdown', (event) => {
            if (event.button !== 0) return;
            board.setPointerCapture(event.pointerId);
            if (this.example) this.clear();
            last = undefined;
            stroke(...place(event));
        });
        board.addEventListener('pointermove', (event) => {
            if (!last || !board.hasPointerCapture(event.pointerId)) return;
            const moves = event.getCoalescedEvents?.() ?? [];
            for (const move of moves.length > 0 ? moves : [event]) stroke(...place(move));
        });
        for (const name of ['pointerup', 'pointercancel']) board.addEventListener(name, () => { last = undefined; });
        board.addEventListener('keydown', (event) => {
            const steps = /** @type {Record<string, [number, number]>} */ ({ ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, -10], ArrowDown: [0, 10] });
            const step = steps[event.key];
            if (step) {
                [x, y] = [Math.min(270, Math.max(10, x + step[0])), Math.min(270, Math.max(10, y + step[1]))];
                if (down) stroke(x, y);
                element('spoken').textContent = `Pen ${down ? 'down' : 'up'} at ${Math.round(x / 2.8)} % across, ${Math.round(y / 2.8)} % down`;
            } else if (event.key === ' ') {
                if (this.example) this.clear();
                down = !down;
                last = undefined;
                if (down) stroke(x, y);
            } else if (event.key === 'Escape') {
                down = false;
                this.clear();
            } else {
                return;
            }
            event.preventDefault();
        });
    }

    clear() {
        const { board, ink } = this;
        ink.fillStyle = '#000';
        ink.fillRect(0, 0, board.width, board.height);
        ink.strokeStyle = '#fff';
        [ink.lineWidth, ink.lineCap, ink.lineJoin] = [PEN, 'round', 'round'];
        this.pixels = undefined;
        this.example = false;
        element('answer').textContent = '–';
        element('spoken').textContent = 'Draw something.';
        for (const item of element('bars').children) bar(item, 0, false);
    }

    /** Shows an image of the test set. @param {Uint8Array} image */
    show(image) {
        this.clear();
        const small = document.createElement('canvas');
        [small.width, small.height] = [WIDE, WIDE];
        paint(small, image, (value) => [value, value, value]);
        this.ink.imageSmoothingEnabled = true;
        this.ink.drawImage(small, 0, 0, this.board.width, this.board.height);
        this.example = true;
        this.pixels = image;
        this.refresh();
    }

    /** The drawing as the network sees it. */
    seen() {
        const { width, height } = this.board;
        const { data } = this.ink.getImageData(0, 0, width, height);
        return prepare({ width, height, pixels: Float32Array.from({ length: width * height }, (_, i) => data[4 * i]) });
    }

    /** The drawing has changed. */
    changed() {
        this.stale = true;
        this.refresh();
    }

    /** Runs the network once more, as soon as it is free. */
    refresh() {
        this.wanted = true;
        if (!this.running) this.loop().catch(fail);
    }

    async loop() {
        this.running = true;
        while (this.wanted) {
            this.wanted = false;
            if (this.stale) [this.stale, this.pixels] = [false, this.seen()];
            if (this.pixels) await this.read(this.pixels);
            await new Promise((done) => setTimeout(done));
        }
        this.running = false;
    }

    /** Waits until the network has read the last drawing. */
    async settled() {
        while (this.running) await new Promise((done) => setTimeout(done, 5));
    }

    /** Runs the network on an image and shows what it computed. @param {Uint8Array} pixels */
    async read(pixels) {
        const { replay, data: { draw } } = this.page;
        const begin = performance.now();
        replay.write(draw.input, Int32Array.from(pixels));
        replay.run('draw');
        const words = await replay.read(draw.logits, ...draw.layers.flatMap(({ acc, codes }) => [acc, codes]));
        const milliseconds = performance.now() - begin;
        const signed = (/** @type {Uint32Array} */ of) => new Int32Array(of.buffer, of.byteOffset, of.length);
        const logits = new Float32Array(words[0].buffer, words[0].byteOffset, words[0].length);
        const most = Math.max(...logits);
        const powers = Array.from(logits, (logit) => Math.exp(logit - most));
        const sum = powers.reduce((all, power) => all + power, 0);
        const best = logits.indexOf(most);
        /** What was read last, for whoever asks. */
        this.answer = { digit: best, probabilities: powers.map((power) => power / sum), pixels: Array.from(pixels) };
        for (const [i, item] of [...element('bars').children].entries()) bar(item, powers[i] / sum, i === best);
        element('answer').textContent = String(best);
        // The large digit beside it is for eyes alone, the small one for screen readers.
        element('spoken').replaceChildren(made('span', 'heard', `${best}, `), `${percent(powers[best] / sum)} sure`);
        element('latency').textContent = `${milliseconds.toFixed(1)} ms from the pixels to the answer and back`;
        const [red, blue, zero] = ['--plus', '--minus', '--card'].map(colour);
        paint(canvas('seen'), pixels, (value) => [value, value, value], 132);
        for (const [i] of draw.layers.entries()) {
            const acc = signed(words[1 + 2 * i]);
            if (i === 0) this.first = acc;
            const peak = acc.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1);
            paint(canvas(`acc-${i}`), acc, (value) => mixed(zero, value > 0 ? red : blue, Math.sqrt(Math.abs(value) / peak)), i === draw.layers.length - 1 ? 24 : 132);
        }
        this.cost(draw.layers.map((_, i) => new Int8Array(words[2 + 2 * i].buffer, words[2 + 2 * i].byteOffset, draw.layers[i].cols)));
        this.pick(this.picked ? this.unit : this.first.indexOf(Math.max(...this.first)));
    }

    /** Counts additions, subtractions and skipped terms for these codes. @param {Int8Array[]} codes */
    cost(codes) {
        let [additions, subtractions, all] = [0, 0, 0];
        for (const [i, { rows, cols }] of this.page.data.draw.layers.entries()) {
            const { plus, minus } = this.counts[i];
            all += rows * cols;
            codes[i].forEach((code, col) => {
                if (code === 0) return;
                additions += plus[col];
                subtractions += minus[col];
            });
        }
        const parts = /** @type {[string, string, number][]} */ ([['add', 'additions', additions], ['sub', 'subtractions', subtractions], ['skip', 'terms skipped, because the weight or the input is 0', all - additions - subtractions]]);
        const stack = made('div', 'stack', ...parts.map(([name, , count]) => {
            const part = made('i', name);
            part.style.width = `${(100 * count) / all}%`;
            return part;
        }));
        stack.setAttribute('aria-hidden', 'true');
        const words = parts.map(([, what, count]) => `${thousands(count)} ${what}`).join(', ');
        element('cost').replaceChildren(stack, made('p', '', `${words}. The matrices multiply nothing; in f32 they would take ${thousands(all)} multiplications.`));
    }

    /** Reads the trits of all layers back, and draws those of the first one. Returns the packed words. */
    async weights() {
        const { replay, data: { draw: { layers } } } = this.page;
        const words = await replay.read(...layers.map((layer) => layer.words));
        this.trits = words.map((packed, i) => unpacked(packed, layers[i]));
        this.counts = this.trits.map((trits, i) => {
            const counts = { plus: new Uint32Array(layers[i].cols), minus: new Uint32Array(layers[i].cols) };
            trits.forEach((trit, at) => {
                if (trit > 0) counts.plus[at % layers[i].cols] += 1;
                if (trit < 0) counts.minus[at % layers[i].cols] += 1;
            });
            return counts;
        });
        this.tiles();
        return words;
    }

    /** How the units of the first layer lie on their canvas. */
    grid() {
        const { rows } = this.page.data.draw.layers[0];
        const columns = Math.ceil(Math.sqrt(rows * 2));
        return { columns, lines: Math.ceil(rows / columns), tile: WIDE + 2 };
    }

    tiles() {
        const { columns, lines, tile } = this.grid();
        const view = canvas('weights');
        [view.width, view.height] = [columns * tile, lines * tile];
        const context = pen(view);
        const image = context.createImageData(view.width, view.height);
        const colours = ['--minus', '--zero', '--plus'].map(colour);
        const size = WIDE * WIDE;
        this.trits[0].forEach((trit, at) => {
            const [unit, i] = [Math.floor(at / size), at % size];
            const x = (unit % columns) * tile + 1 + (i % WIDE);
            const y = Math.floor(unit / columns) * tile + 1 + Math.floor(i / WIDE);
            image.data.set(colours[trit + 1], 4 * (y * view.width + x));
        });
        this.plain = image;
        this.pick(this.unit);
    }

    /** A visitor wants to see this unit. @param {number} unit */
    choose(unit) {
        this.picked = true;
        this.pick(unit);
    }

    /** Shows one unit of the first layer large. @param {number} unit */
    pick(unit) {
        this.unit = unit;
        const { columns, tile } = this.grid();
        const context = pen(canvas('weights'));
        if (this.plain) context.putImageData(this.plain, 0, 0);
        context.strokeStyle = `rgb(${colour('--ink').slice(0, 3).join(' ')})`;
        context.lineWidth = 2;
        context.strokeRect((unit % columns) * tile, Math.floor(unit / columns) * tile, tile, tile);
        const size = WIDE * WIDE;
        const trits = this.trits[0].subarray(unit * size, (unit + 1) * size);
        const colours = ['--minus', '--zero', '--plus'].map(colour);
        paint(canvas('unit-view'), trits, (trit) => colours[trit + 1]);
        element('unit-number').textContent = String(unit);
        input('unit').value = String(unit);
        const count = (/** @type {number} */ of) => trits.reduce((sum, trit) => sum + Number(trit === of), 0);
        const sum = this.first.length > unit ? ` This input gives it ${thousands(this.first[unit])}.` : '';
        element('unit-words').textContent = `${count(1)} weights of +1, ${count(-1)} of −1, ${count(0)} of 0.${sum}`;
    }
}

/** A colour between two. @param {ArrayLike<number>} a @param {ArrayLike<number>} b @param {number} share */
function mixed(a, b, share) {
    return [0, 1, 2].map((i) => a[i] + share * (b[i] - a[i]));
}

/**
 * Paints values as the pixels of a nearly square canvas.
 * @param {HTMLCanvasElement} view
 * @param {ArrayLike<number>} values
 * @param {(value: number) => ArrayLike<number>} coloured
 * @param {number} [height] the height on the page
 */
function paint(view, values, coloured, height) {
    const few = values.length <= 16;
    const wide = few ? values.length : Math.ceil(Math.sqrt(values.length));
    const high = Math.ceil(values.length / wide);
    if (view.width !== wide || view.height !== high) [view.width, view.height] = [wide, high];
    if (height) {
        view.style.height = `${height}px`;
        view.style.width = `${(height * wide) / high}px`;
    }
    const context = pen(view);
    const image = context.createImageData(wide, high);
    for (let i = 0; i < values.length; i++) image.data.set([...Array.from(coloured(values[i])).slice(0, 3), 255], 4 * i);
    context.putImageData(image, 0, 0);
}
