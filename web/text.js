// The page of a language model: it writes on from a prompt, character by character, and shows what may come next.

import { bar, button, element, fail, input, made, painted, percent, start } from './page.js';
import { STREAM, draw } from './replay.js';

/** @typedef {import('./page.js').Page} Page */

/** Number of characters in the list of what may come next. */
const SHOWN = 10;

/** A text that grows on the device, as src/generate.rs has it. */
class Writer {
    /** @param {Page} page */
    constructor(page) {
        this.page = page;
        /** The ids in the cache. @type {number[]} */
        this.window = [];
        /** Number of ids in the whole text. */
        this.length = 0;
        this.logits = new Float32Array(0);
    }

    reset() {
        [this.window, this.length] = [[], 0];
    }

    /** The ids of a text, or the characters that the vocabulary lacks. @param {string} text */
    encode(text) {
        const { characters } = this.page.data.text;
        if (!characters) return { ids: Array.from(new TextEncoder().encode(text)), unknown: [] };
        const all = Array.from(text);
        const unknown = all.filter((character) => !characters.includes(character));
        return { ids: all.map((character) => characters.indexOf(character)), unknown: [...new Set(unknown)] };
    }

    /** Appends ids. When the context is full, its second half is read again from the beginning. @param {number[]} ids */
    async push(ids) {
        const { replay, data: { text } } = this.page;
        let read = this.window.length;
        for (const id of ids) {
            if (this.window.length === text.context) {
                this.window.splice(0, text.context + 1 - Math.max(Math.floor(text.context / 2), 1));
                read = 0;
            }
            this.window.push(id);
        }
        this.length += ids.length;
        for (; read < this.window.length; read++) {
            replay.write(text.first, new Uint32Array([read]));
            replay.write(text.ids, new Int32Array([this.window[read]]));
            replay.run('token');
        }
        const [words] = await replay.read(text.logits);
        this.logits = new Float32Array(words.buffer);
    }

    /** The ids from the most probable one on, with `softmax(logits / temperature)`. @param {number} temperature */
    next(temperature) {
        const order = Array.from(this.logits.keys()).sort((a, b) => this.logits[b] - this.logits[a] || a - b);
        const largest = this.logits[order[0]];
        const weights = order.map((id) => Math.exp((this.logits[id] - largest) / temperature));
        const sum = weights.reduce((all, weight) => all + weight, 0);
        return { order, weights, sum };
    }

    /** Chooses the next id as `sterna generate` does. A temperature of 0 takes the most probable one. @param {number} temperature @param {number} seed */
    choose(temperature, seed) {
        const { order, weights, sum } = this.next(temperature || 1);
        if (temperature === 0) return { id: order[0], share: weights[0] / sum };
        const [high, low] = draw([seed, 0], STREAM.sample, 0, this.length);
        const uniform = (high * 2 ** 21 + (low >>> 11)) / 2 ** 53;
        let left = uniform * sum;
        const drawn = weights.findIndex((weight) => (left -= weight) < 0);
        const at = drawn < 0 ? order.length - 1 : drawn;
        return { id: order[at], share: weights[at] / sum };
    }
}

/** How a character looks in a list. @param {string} character */
function visible(character) {
    return { '\n': '⏎', ' ': '␣', '\t': '⇥' }[character] ?? character;
}

start(async (page) => {
    const { replay, data: { text } } = page;
    const writer = new Writer(page);
    Object.assign(window, { sterna: { page, writer } });
    await replay.prepare('check', 'token');
    await page.check();
    const prompt = /** @type {HTMLTextAreaElement} */ (element('prompt'));
    prompt.value = text.prompt;
    const story = element('story');
    const temperature = () => Number(input('temperature').value);
    const length = () => Number(input('length').value);
    const spoken = (/** @type {number} */ id) => text.characters ? text.characters[id] : id > 32 && id < 127 ? String.fromCharCode(id) : id === 10 ? '\n' : id === 32 ? ' ' : `byte ${id}`;
    const unit = text.characters ? 'characters' : 'bytes';
    element('next').replaceChildren(...Array.from({ length: Math.min(SHOWN, replay.place(text.logits).bytes / 4) }, () => made('li', '', made('span', 'key', ''), made('span', 'bar', made('i', '')), made('span', 'share', ''))));
    let [seed, task] = [0, 0];

    const shown = () => {
        input('temperature').setAttribute('aria-valuetext', `${temperature()}`);
        element('temperature-number').textContent = temperature() === 0 ? '0: always the most probable' : temperature().toFixed(2);
        element('length-number').textContent = `${length()} ${unit}`;
        if (writer.logits.length === 0) return;
        const { order, weights, sum } = writer.next(temperature() || 1);
        for (const [i, item] of [...element('next').children].entries()) {
            const key = item.querySelector('.key');
            if (key) key.textContent = visible(spoken(order[i]));
            bar(item, weights[i] / sum, i === 0);
        }
        const kept = weights.filter((weight) => weight / sum >= 0.01).length;
        element('next-words').textContent = `${kept} of ${order.length} ${unit} have 1 % or more at this temperature. The network sees the last ${text.context} at most.`;
    };

    /** The ids of the prompt; none, with the reason on the page, if the network cannot read it. */
    const asked = () => {
        const { ids, unknown } = writer.encode(prompt.value);
        button('go').disabled = ids.length === 0 || unknown.length > 0;
        element('prompt-words').textContent = unknown.length > 0
            ? `The network has never seen ${unknown.join(' ')}: leave it out.`
            : ids.length === 0 ? 'Write a character or more.' : `${ids.length} ${unit}`;
        return button('go').disabled ? [] : ids;
    };

    /** Reads the prompt, and says what may come next. */
    const begin = async () => {
        const mine = ++task;
        const ids = asked();
        if (ids.length === 0) return undefined;
        writer.reset();
        await writer.push(ids);
        if (mine !== task) return undefined;
        story.replaceChildren(made('span', 'given', prompt.value));
        shown();
        return mine;
    };

    const write = async () => {
        const mine = await begin();
        if (mine === undefined) return;
        [button('go').disabled, button('stop').disabled] = [true, false];
        element('done').textContent = '';
        const bytes = new TextDecoder();
        const started = performance.now();
        for (let count = 1; count <= length() && mine === task; count++) {
            const { id, share } = writer.choose(temperature(), seed);
            const words = text.characters ? text.characters[id] : bytes.decode(new Uint8Array([id]), { stream: true });
            const piece = made('span', '', words);
            piece.title = `${visible(spoken(id))}: ${percent(share)}`;
            piece.style.backgroundColor = `color-mix(in srgb, var(--plus) ${Math.round(38 * (1 - share) ** 2)}%, transparent)`;
            story.append(piece);
            story.scrollTop = story.scrollHeight;
            await writer.push([id]);
            if (count % 4 === 0 || count === length()) {
                shown();
                element('rate').textContent = `${((1000 * count) / (performance.now() - started)).toFixed(0)} ${unit} a second`;
                await painted();
            }
        }
        shown();
        button('stop').disabled = true;
        asked();
        element('done').textContent = `${story.children.length - 1} ${unit} written.`;
        seed += 1;
    };

    prompt.addEventListener('input', () => begin().catch(fail));
    for (const id of ['temperature', 'length']) input(id).addEventListener('input', shown);
    button('go').addEventListener('click', () => write().catch(fail));
    button('stop').addEventListener('click', () => { task += 1; });
    await begin();
});
