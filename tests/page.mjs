// A browser for the tests of pages: it opens files in headless Chromium, and does what a test asks for.
//
//   node tests/page.mjs CHROMIUM [FLAG...]     requests come on stdin, one JSON object a line, and so do the answers
//
// The browser is told by pipes (--remote-debugging-pipe), so no port is opened. Whatever it asks the network for, and
// whatever its console says as an error, is in the answer of `quit` and of `faults`.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [program, ...flags] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), 'sterna-page-'));
const browser = spawn(program, [
    '--headless', '--no-sandbox', '--disable-background-networking', '--disable-dev-shm-usage', '--no-first-run',
    '--hide-scrollbars', '--remote-debugging-pipe', `--user-data-dir=${profile}`, ...flags, 'about:blank',
], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
const ended = new Promise((resolve) => browser.once('exit', resolve));

const waiting = new Map();
const listeners = new Map();
let [last, session, pending] = [0, undefined, ''];
const faults = { console: [], requests: [] };

function send(method, params = {}) {
    last += 1;
    browser.stdio[3].write(`${JSON.stringify({ id: last, method, params, sessionId: session })}\0`);
    return new Promise((resolve, reject) => waiting.set(last, { resolve, reject, method }));
}

const once = (method) => new Promise((resolve) => listeners.set(method, resolve));

function heard({ id, result, error, method, params }) {
    if (id !== undefined) {
        const { resolve, reject, method: asked } = waiting.get(id);
        waiting.delete(id);
        return error ? reject(new Error(`${asked}: ${error.message}`)) : resolve(result);
    }
    listeners.get(method)?.(params);
    listeners.delete(method);
    if (method === 'Runtime.exceptionThrown') {
        const { exception, text } = params.exceptionDetails;
        faults.console.push(exception?.description ?? text);
    } else if (method === 'Runtime.consoleAPICalled' && ['error', 'warning', 'assert'].includes(params.type)) {
        faults.console.push(params.args.map((arg) => arg.value ?? arg.description).join(' '));
    } else if (method === 'Log.entryAdded' && params.entry.level === 'error') {
        faults.console.push(params.entry.text);
    } else if (method === 'Network.requestWillBeSent' && /^(https?|wss?):/.test(params.request.url)) {
        faults.requests.push(params.request.url);
    }
}

browser.stdio[4].setEncoding('utf8').on('data', (text) => {
    const messages = (pending + text).split('\0');
    pending = messages.pop();
    for (const message of messages) heard(JSON.parse(message));
});

const { targetInfos } = await send('Target.getTargets');
const { targetId } = targetInfos.find(({ type }) => type === 'page');
session = (await send('Target.attachToTarget', { targetId, flatten: true })).sessionId;
for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await send(`${domain}.enable`);

/** The value of an expression in the page. It may be a promise. */
async function evaluate(expression) {
    const said = await send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
    if (said.exceptionDetails) throw new Error(said.exceptionDetails.exception?.description ?? said.exceptionDetails.text);
    return said.result.value;
}

const mouse = (type, [x, y], buttons) => send('Input.dispatchMouseEvent', { type, x, y, button: 'left', buttons, clickCount: 1 });

const requests = {
    // Opens a file and waits until it has loaded, which a page holds back until its digest is there.
    open: async ({ url }) => {
        const loaded = once('Page.loadEventFired');
        await send('Page.navigate', { url });
        await loaded;
        return null;
    },
    evaluate: async ({ expression }) => await evaluate(expression),
    // Strokes on an element: lists of points from 0 to 1 across and down.
    strokes: async ({ id, strokes }) => {
        const box = await evaluate(`(() => { const e = document.getElementById('${id}'); e.scrollIntoView({ block: 'center' }); const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()`);
        const place = ([x, y]) => [box[0] + x * box[2], box[1] + y * box[3]];
        for (const stroke of strokes) {
            await mouse('mousePressed', place(stroke[0]), 1);
            for (const point of stroke) await mouse('mouseMoved', place(point), 1);
            await mouse('mouseReleased', place(stroke[stroke.length - 1]), 0);
        }
        return null;
    },
    key: async ({ key, code }) => {
        const text = key === ' ' ? { text: ' ' } : {};
        await send('Input.dispatchKeyEvent', { type: 'keyDown', key, code: code ?? key, ...text });
        await send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: code ?? key });
        return null;
    },
    // A picture of a window of this size, or of the whole page, as PNG or as WebP by the file's name.
    picture: async ({ path, width, height, dark, whole, quality }) => {
        await send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 500 });
        await send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
        await new Promise((done) => setTimeout(done, 300));
        const webp = path.endsWith('.webp') ? { format: 'webp', quality } : { format: 'png' };
        const { data } = await send('Page.captureScreenshot', { ...webp, captureBeyondViewport: Boolean(whole) });
        writeFileSync(path, Buffer.from(data, 'base64'));
        return null;
    },
    faults: async () => faults,
};

for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
        answer = { value: await requests[request.do](request) };
    } catch (error) {
        answer = { error: error.message };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
}
// No more requests: the browser itself is asked to end.
session = undefined;
send('Browser.close').catch(() => {});
await ended;
rmSync(profile, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
process.exit(0);
