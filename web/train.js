// The page that trains: it replays the steps of the plan, shows how the network gets better, and lets it read drawings.

import { button, element, fail, painted, percent, start, status, thousands } from './page.js';
import { Drawing } from './draw.js';

/** @typedef {import('./page.js').Page} Page @typedef {import('./replay.js').Host} Host */

/** Milliseconds of work in a submission, and between two looks at the weights. */
const WORK = 100;
const LOOK = 400;

class Training {
    /** @param {Page} page @param {Drawing} drawing */
    constructor(page, drawing) {
        this.page = page;
        this.drawing = drawing;
        this.running = false;
        this.pace = 1;
        this.host = Training.host(page);
        this.perPass = this.host.runs.reduce((sum, [, times]) => sum + times, 0);
        /** The sum of the losses of the current pass. */
        this.before = 0;
        /** @type {{ step: number, loss: number }[]} */
        this.losses = [];
        /** @type {{ step: number, wrong: number }[]} */
        this.errors = [];
        /** The packed weights at the last look. @type {Uint32Array[]} */
        this.words = [];
    }

    /** The host's work at its beginning. @param {Page} page */
    static host(page) {
        return structuredClone(/** @type {Host} */ (page.data.plan.host));
    }

    restart() {
        this.host = Training.host(this.page);
        [this.before, this.losses, this.errors, this.words] = [0, [], [], []];
    }

    get steps() {
        return this.host.at[0] * this.perPass + this.host.at[1];
    }

    get done() {
        return this.host.at[0] >= this.host.passes;
    }

    /** The images of the current pass after so many of its steps. @param {number} run */
    seen(run) {
        const { batch, images } = this.page.data.train;
        return Math.min(run * batch, images);
    }

    /** Trains at most `count` steps, and returns their mean loss. They must not go beyond the end of a pass. @param {number} count */
    async advance(count) {
        const { replay } = this.page;
        const run = this.host.at[1];
        const ended = await replay.runs(this.host, count);
        const [words] = ended.length > 0 ? ended[0] : await replay.read(this.host.read[0]);
        const sum = new Float32Array(words.buffer, words.byteOffset, 1)[0];
        const loss = (sum - this.before) / (this.seen(run + count) - this.seen(run));
        this.before = ended.length > 0 ? 0 : sum;
        this.losses.push({ step: this.steps, loss });
        if (ended.length > 0) await this.test();
        return loss;
    }

    /** The share of right answers on the test images. */
    async test() {
        const { replay, data: { train } } = this.page;
        const [[, hits]] = await replay.runs(structuredClone(train.test), Number.MAX_SAFE_INTEGER);
        const right = hits[0] / train.tests;
        this.errors.push({ step: this.steps, wrong: 1 - right });
        element('accuracy').textContent = percent(right);
        return right;
    }

    /** Reads the weights back, shows them, and counts the trits that flipped since the last look. */
    async look() {
        const words = await this.drawing.weights();
        const all = this.page.data.draw.layers.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
        if (this.words.length > 0) {
            let flips = 0;
            for (const [i, packed] of words.entries()) {
                const before = this.words[i];
                packed.forEach((word, at) => {
                    let bits = word ^ before[at];
                    for (bits = (bits | (bits >>> 1)) & 0x55555555; bits !== 0; bits &= bits - 1) flips += 1;
                });
            }
            element('flips').textContent = `${thousands(flips)} (${percent(flips / all)})`;
        }
        this.words = words;
        this.drawing.refresh();
    }

    /** Trains until somebody stops it, or until the end. */
    async go() {
        this.running = true;
        this.buttons();
        let looked = performance.now();
        const { images } = this.page.data.train;
        while (this.running && !this.done) {
            const begin = performance.now();
            const run = this.host.at[1];
            const count = Math.min(this.pace, this.perPass - run);
            const loss = await this.advance(count);
            const milliseconds = performance.now() - begin;
            this.pace = Math.max(1, Math.min(2 * this.pace, 64, Math.floor((this.pace * WORK) / milliseconds)));
            this.show(loss);
            const trained = this.seen(run + count) - this.seen(run);
            element('rate').textContent = thousands((1000 * trained) / milliseconds);
            if (performance.now() - looked > LOOK || this.done) {
                await this.look();
                looked = performance.now();
            }
            await painted();
        }
        this.running = false;
        this.buttons();
        const passes = `${this.host.at[0]} of ${this.host.passes} passes over ${thousands(images)} images`;
        element('progress').textContent = this.done ? `Done: ${passes}. Draw a digit below.` : `Stopped after ${passes}. Draw a digit below, or go on.`;
    }

    /** @param {number} loss */
    show(loss) {
        element('step').textContent = `${thousands(this.steps)} of ${thousands(this.perPass * this.host.passes)}`;
        element('loss').textContent = loss.toFixed(4);
        element('progress').textContent = `Pass ${Math.min(this.host.at[0] + 1, this.host.passes)} of ${this.host.passes}`;
        this.curve();
    }

    buttons() {
        button('train').textContent = this.running ? 'Stop' : this.steps > 0 ? 'Go on' : 'Train';
        button('train').disabled = this.done;
        button('again').disabled = this.running || this.steps === 0;
    }

    /** Loss and wrong answers over steps, on one logarithmic axis. */
    curve() {
        const view = element('curve');
        const [width, height] = [view.clientWidth, view.clientHeight];
        const [left, bottom] = [44, 22];
        const most = Math.max(this.perPass * this.host.passes, 1);
        const x = (/** @type {number} */ step) => (left + (step / most) * (width - left - 10)).toFixed(1);
        const [high, low] = [Math.log(4), Math.log(0.01)];
        const y = (/** @type {number} */ value) => (8 + ((high - Math.log(Math.min(4, Math.max(0.01, value)))) / (high - low)) * (height - bottom - 8)).toFixed(1);
        const rules = [0.01, 0.03, 0.1, 0.3, 1, 3].map((value) => `<line class="rule" x1="${left}" x2="${width - 10}" y1="${y(value)}" y2="${y(value)}"/><text x="${left - 6}" y="${y(value)}" text-anchor="end" dy="4">${value}</text>`);
        const passes = Array.from({ length: this.host.passes + 1 }, (_, i) => `<text x="${x(i * this.perPass)}" y="${height - 4}" text-anchor="middle">${i}</text>`);
        const path = (/** @type {number[]} */ values) => values.map((value, i) => `${i === 0 ? 'M' : 'L'}${x(this.losses[i].step)} ${y(value)}`).join('');
        const each = this.losses.map(({ loss }) => loss);
        let mean = each[0] ?? 0;
        const means = each.map((loss) => (mean = 0.85 * mean + 0.15 * loss));
        const dots = this.errors.map(({ step, wrong }) => `<circle class="dot" cx="${x(step)}" cy="${y(wrong)}" r="4"/>`);
        view.setAttribute('viewBox', `0 0 ${width} ${height}`);
        const lossNow = this.losses.at(-1)?.loss.toFixed(3) ?? 'none yet';
        view.innerHTML = `<title id="curve-title">Loss over passes, now ${lossNow}</title>${rules.join('')}${passes.filter((_, i) => i % Math.ceil(passes.length / 11) === 0).join('')}<path class="each" d="${path(each)}"/><path class="line" d="${path(means)}"/>${dots.join('')}`;
    }
}

start(async (page) => {
    const { replay, data: { plan } } = page;
    await replay.prepare('begin', 'check');
    replay.run('begin');
    await page.check();
    const drawing = new Drawing(page);
    await drawing.begin();
    const training = new Training(page, drawing);
    Object.assign(window, { sterna: { page, drawing, training } });
    await replay.prepare(plan.lists[0].name);
    training.curve();
    training.buttons();
    button('train').addEventListener('click', () => {
        if (training.running) training.running = false;
        else training.go().catch(fail);
    });
    button('again').addEventListener('click', async () => {
        replay.reset();
        replay.run('begin');
        training.restart();
        for (const id of ['loss', 'accuracy', 'flips', 'rate']) element(id).textContent = '–';
        element('step').textContent = '0';
        element('progress').textContent = '';
        training.curve();
        training.buttons();
        await drawing.weights();
        drawing.refresh();
    });
    window.addEventListener('resize', () => training.curve());
    if (element('status').className === 'good') status(`${element('status').textContent} It is that of the network before its first step.`, 'good');
});
