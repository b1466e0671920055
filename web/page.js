// What every page does: it unpacks the plan, opens the GPU, shows the machine, and computes the digest.

import { Replay } from './replay.js';

/**
 * @typedef {import('./replay.js').Plan} Plan
 * @typedef {import('./replay.js').Host} Host
 * @typedef {{ items: number, rows: number, expected: string,
 *     products: { codes: number, cols: number, acc: number, left_out: number[] }[] }} Check
 * @typedef {{ rows: number, cols: number, words: number, codes: number, acc: number }} Layer
 * @typedef {{ input: number, logits: number, layers: Layer[], examples: { label: number, pixels: string }[] }} Draw
 * @typedef {{ images: number, tests: number, batch: number, epochs: number, seed: number, lr: number, test: Host }} Train
 * @typedef {{ ids: number, first: number, logits: number, context: number, prompt: string,
 *     characters: string[] | null }} Text
 * @typedef {{ plan: Plan, without_dot4: string, check: Check, draw: Draw, train: Train, text: Text }} Data
 */

/** An element of the page. @param {string} id */
export function element(id) {
    const found = document.getElementById(id);
    if (!found) throw new Error(`the page has no ${id}`);
    return found;
}

/** @param {string} id */
export const button = (id) => /** @type {HTMLButtonElement} */ (element(id));
/** @param {string} id */
export const input = (id) => /** @type {HTMLInputElement} */ (element(id));
/** @param {string} id */
export const canvas = (id) => /** @type {HTMLCanvasElement} */ (element(id));

/** A new element with a class, a text and children. @param {string} tag @param {string} name @param {(string | Node)[]} children */
export function made(tag, name, ...children) {
    const node = document.createElement(tag);
    if (name) node.className = name;
    node.append(...children);
    return node;
}

/** The context of a canvas. @param {HTMLCanvasElement} of */
export function pen(of) {
    const context = of.getContext('2d', { willReadFrequently: true });
    if (!context) throw new Error('this browser draws on no canvas');
    return context;
}

/** A colour of the style sheet as red, green and blue. @param {string} name */
export function colour(name) {
    const probe = pen(document.createElement('canvas'));
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    probe.fillRect(0, 0, 1, 1);
    return probe.getImageData(0, 0, 1, 1).data;
}

/** @param {number} value */
export const thousands = (value) => Math.round(value).toLocaleString('en').replace('-', '−');
/** @param {number} share */
export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** Sets a line of a list of probabilities. @param {Element} item @param {number} share @param {boolean} best */
export function bar(item, share, best) {
    item.classList.toggle('best', best);
    const fill = /** @type {HTMLElement} */ (item.querySelector('i'));
    fill.style.width = `${100 * share}%`;
    const words = item.querySelector('.share');
    if (words) words.textContent = share > 0 ? percent(share) : '';
}

/** @param {string} text base64 */
export function bytes(text) {
    const binary = atob(text.trim());
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < out.length; i++) out[i] = binary.charCodeAt(i);
    return out;
}

/** Lets the page paint. */
export const painted = () => new Promise((done) => setTimeout(done));

/** Says in words what failed. @param {unknown} error */
export function fail(error) {
    const words = error instanceof Error ? error.message : String(error);
    element('fault').hidden = false;
    element('fault').textContent = `The page stopped: ${words}. Load it again, or try another browser.`;
    status('Stopped: see the message above.', 'bad');
    console.error(error);
}

/** @param {string} words @param {string} [name] */
export function status(words, name = '') {
    element('status').textContent = words;
    element('status').className = name;
}

/** The longest time that a page may take to load, in milliseconds. */
const PATIENCE = 120_000;

/** Keeps the page loading until the returned function is called, so that whoever waits for it finds the digest. */
function hold() {
    const frame = document.createElement('iframe');
    frame.hidden = true;
    document.body.append(frame);
    frame.contentDocument?.open();
    const release = () => {
        frame.contentDocument?.close();
        setTimeout(() => frame.remove());
    };
    setTimeout(release, PATIENCE);
    return release;
}

/** Says which browser has WebGPU, and shows a picture of the page. @param {string} words */
function missing(words) {
    element('advice').textContent = words;
    element('missing').hidden = false;
    element('work').hidden = true;
    status('Nothing was computed: this browser shows no WebGPU.', 'bad');
}

async function open() {
    if (!window.isSecureContext) {
        missing('Browsers give WebGPU only to pages from https or from the disk. This page came by http: ask for it by https, or save it and open the file.');
        return undefined;
    }
    if (!navigator.gpu) {
        missing('This page computes with WebGPU, which your browser does not have, or has switched off.');
        return undefined;
    }
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: 'high-performance' });
    if (!adapter) {
        missing('Your browser knows WebGPU, but it gives no adapter: the driver of your GPU may be too old, or hardware acceleration may be off in the settings.');
        return undefined;
    }
    const device = await adapter.requestDevice();
    device.addEventListener('uncapturederror', (event) => fail(event.error));
    device.lost.then(({ reason, message }) => {
        if (reason !== 'destroyed') fail(new Error(`the GPU was lost (${message || reason})`));
    });
    return { adapter, device };
}

/** A page that is ready: its data, and the plan on the device. */
export class Page {
    /** @param {Data} data @param {Replay} replay @param {GPUAdapter} adapter @param {boolean} dot4 */
    constructor(data, replay, adapter, dot4) {
        this.data = data;
        this.replay = replay;
        this.adapter = adapter;
        this.dot4 = dot4;
    }

    /** Shows adapter, limits and shaders. */
    describe() {
        const { limits } = this.adapter;
        // Older browsers have no info.
        const { vendor = '', architecture = '', device = '', description = '' } = this.adapter.info ?? {};
        const mib = (/** @type {number} */ size) => `${thousands(size / 2 ** 20)} MiB`;
        const named = [vendor, architecture, device, description].filter((word) => word).join(' ');
        const buffers = this.data.plan.buffers.reduce((sum, { bytes: size }) => sum + size, 0);
        const rows = [
            ['adapter', named || 'one that gives no name'],
            ['products', this.dot4 ? 'dot4I8Packed: four products of int8 in one instruction' : 'without dot4I8Packed: two products of a trit and an int8 in one multiplication'],
            ['largest binding', `${mib(limits.maxStorageBufferBindingSize)}; the page asks for no more than WebGPU's 128 MiB`],
            ['a workgroup', `${limits.maxComputeInvocationsPerWorkgroup} invocations, ${limits.maxComputeWorkgroupStorageSize / 1024} KiB; the page uses at most 256 and 16 KiB`],
            ['storage buffers', `${limits.maxStorageBuffersPerShaderStage} for a shader; the page uses at most 8`],
            ['tensors', `${thousands(buffers)} bytes in ${this.data.plan.buffers.length} buffers`],
        ];
        element('machine').replaceChildren(...rows.flatMap(([name, value]) => [made('dt', '', name), made('dd', '', value)]));
        const half = this.data.plan.lists.slice(this.replay.first).slice(0, this.data.plan.lists.length / 2);
        const lines = half.flatMap(({ name, ops }) => ops.map((op) => {
            const cells = [name, this.data.plan.kernels[op.kernel].name, op.groups.slice(0, 2).join(' × '), thousands(op.bytes), thousands(op.ops)];
            return made('tr', '', ...cells.map((cell) => made('td', '', cell)));
        }));
        element('shaders').querySelector('tbody')?.replaceChildren(...lines);
    }

    /** Computes the digest of the fixed input and compares it with the program's. */
    async check() {
        status('Computing the digest of a fixed input');
        await this.replay.prepare('check');
        const { hex, integers } = await digest(this.replay, this.data.check);
        element('digest').textContent = hex;
        if (hex === this.data.check.expected) {
            status(`Equal: this browser computed the same ${thousands(integers)} integers, bit for bit.`, 'good');
        } else {
            status('Not equal: this browser computed other integers than the program. A shader or a driver is at fault. Please report the adapter below.', 'bad');
        }
    }
}

/**
 * Runs the list `check` and hashes its integers, as src/digest.rs does: item after item, and of each the codes and the
 * accumulators of every product.
 * @param {Replay} replay
 * @param {Check} check
 */
export async function digest(replay, { items, rows, products }) {
    replay.run('check');
    const read = await replay.read(...products.flatMap(({ codes, acc }) => [codes, acc]));
    /** @type {ArrayBufferView<ArrayBuffer>[]} */
    const parts = [];
    for (let item = 0; item < items; item++) {
        const mine = Array.from({ length: rows / items }, (_, i) => (item * rows) / items + i);
        for (const [i, { cols, left_out }] of products.entries()) {
            const [codes, acc] = [read[2 * i], read[2 * i + 1]];
            const [wide, high] = [codes.byteLength / rows, acc.length / rows];
            const out = new Set(left_out);
            for (const row of mine) parts.push(out.has(row) ? new Uint8Array(cols) : new Uint8Array(codes.buffer, codes.byteOffset + row * wide, cols));
            for (const row of mine) parts.push(out.has(row) ? new Uint32Array(high) : acc.subarray(row * high, (row + 1) * high));
        }
    }
    const hash = await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer());
    const hex = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
    const integers = products.reduce((sum, { cols, acc }) => sum + rows * cols + replay.place(acc).bytes / 4, 0);
    return { hex, integers };
}

/**
 * Starts a page. `begin` prepares it before the digest is computed.
 * @param {(page: Page) => Promise<void>} begin
 */
export async function start(begin) {
    const release = hold();
    try {
        const opened = await open();
        if (!opened) return;
        const data = /** @type {Data} */ (JSON.parse(element('page').textContent ?? ''));
        const packed = new Blob([bytes(element('contents').textContent ?? '')]).stream();
        const stream = packed.pipeThrough(new DecompressionStream('gzip'));
        const contents = new Uint8Array(await new Response(stream).arrayBuffer());
        // `?without-dot4` takes the other half of the plan everywhere.
        const dot4 = navigator.gpu.wgslLanguageFeatures?.has('packed_4x8_integer_dot_product')
            && !location.search.includes('without-dot4');
        const variant = dot4 ? {} : { half: 1, more: data.without_dot4 };
        const replay = new Replay(opened.device, data.plan, contents, variant);
        const page = new Page(data, replay, opened.adapter, dot4);
        page.describe();
        await begin(page);
        document.documentElement.dataset.ready = 'true';
    } catch (error) {
        fail(error);
    } finally {
        release();
    }
}
