// Dawn, the WebGPU of Chrome, for the tests: WGSL by its compiler Tint, and a device that runs it. A test starts this
// script with Node and asks it through stdin and stdout. tests/common/dawn.rs is the other side.
//
//   node tests/tint.mjs FOLDER     the folder has node_modules/webgpu
//
// A message has four parts: two u32, the lengths of what follows; JSON; bytes. Each request has one answer.

import { readFileSync, readSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gunzipSync } from 'node:zlib';

import { digest } from '../web/page.js';
import { Replay } from '../web/replay.js';

const home = join(resolve(process.argv[2]), 'node_modules/webgpu/index.js');
const { create, globals } = await import(pathToFileURL(home));
Object.assign(globalThis, globals);

const FEATURES = ['subgroups', 'shader-f16'];

// A device with the default limits, which every browser grants, and with the features that it has.
async function open(flags) {
    const gpu = create(flags);
    const adapter = await gpu.requestAdapter();
    if (!adapter) return undefined;
    const features = FEATURES.filter((feature) => adapter.features.has(feature));
    const device = await adapter.requestDevice({ requiredFeatures: features });
    // The device lives as long as the object that it comes from.
    const { description, device: model, subgroupMinSize } = adapter.info;
    return { gpu, device, features, name: description || model, subgroup: subgroupMinSize };
}

const real = await open([]);
// It has every feature and no driver. Tint's checks are the same here, and take milliseconds: SwiftShader's compiler
// takes up to seconds for a shader.
const nothing = await open(['backend=null']);

// The pipeline of a shader, or what Tint or Dawn says against it.
async function pipeline({ device }, { wgsl, constants }) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code: wgsl });
    await device.popErrorScope();
    const info = await module.getCompilationInfo();
    const faults = info.messages
        .filter((message) => message.type === 'error')
        .map((message) => ({ line: message.lineNum, words: message.message }));
    if (faults.length > 0) return { faults };
    const compute = { module, entryPoint: 'main', constants };
    return device.createComputePipelineAsync({ layout: 'auto', compute }).then(
        (made) => ({ made, faults }),
        (error) => ({ faults: [{ line: 0, words: error.message }] }),
    );
}

// Makes all pipelines, several at a time: those for the driver on the adapter, where it has what they need.
async function compile({ shaders }) {
    const made = shaders.map(async (shader) => {
        const lacks = shader.needs.filter((feature) => !real.features.includes(feature));
        const on = shader.driver && lacks.length === 0 ? real : nothing;
        const { faults } = await pipeline(on, shader);
        return { lacks, faults };
    });
    return [{ compiled: await Promise.all(made) }];
}

// Runs a plan, and answers with the bytes of all its buffers.
async function replay({ plan, runs }, contents) {
    const { device, subgroup } = real;
    const small = plan.kernels.find((kernel) => kernel.subgroup > subgroup);
    if (small) return [{ fault: `${small.name}: it needs subgroups of ${small.subgroup}, here are some of ${subgroup}` }];
    device.pushErrorScope('validation');
    let answer;
    try {
        const replayed = new Replay(device, plan, contents);
        const all = plan.lists.map((_, i) => i);
        await Promise.all(all.map((i) => replayed.bind(i)));
        const ended = plan.host ? await replayed.runs(plan.host, runs) : replayed.submit(all) ?? [];
        const words = await replayed.everything();
        answer = [{ read: ended.map((tensors) => tensors.flatMap((words) => [...words])) }, Buffer.concat(words.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength)))];
        replayed.destroy();
    } catch (error) {
        answer = [{ fault: error.message }];
    }
    const error = await device.popErrorScope();
    return error ? [{ fault: error.message }] : answer;
}

// The digests that a page computes here, by both halves of its plan. `begin` is a list to run before.
async function page({ path, begin }) {
    const html = readFileSync(path, 'utf8');
    const script = (id) => html.match(new RegExp(`<script[^>]* id="${id}">([^<]*)</script>`))[1];
    const data = JSON.parse(script('page'));
    const contents = new Uint8Array(gunzipSync(Buffer.from(script('contents'), 'base64')));
    const digests = [];
    for (const variant of [{}, { half: 1, more: data.without_dot4 }]) {
        const replayed = new Replay(real.device, data.plan, contents, variant);
        await replayed.prepare('check', ...(begin ? [begin] : []));
        if (begin) replayed.run(begin);
        digests.push((await digest(replayed, data.check)).hex);
        replayed.destroy();
    }
    return [{ digests, expected: data.check.expected }];
}

function read(length) {
    const bytes = Buffer.alloc(length);
    for (let at = 0; at < length; ) {
        let got;
        try {
            got = readSync(0, bytes, at, length - at);
        } catch (error) {
            if (error.code === 'EAGAIN') continue;
            throw error;
        }
        // The test has ended.
        if (got === 0) process.exit(0);
        at += got;
    }
    return bytes;
}

function write(bytes) {
    for (let at = 0; at < bytes.length; ) {
        try {
            at += writeSync(1, bytes, at, bytes.length - at);
        } catch (error) {
            if (error.code !== 'EAGAIN') throw error;
        }
    }
}

function answer(json, bytes = Buffer.alloc(0)) {
    const text = Buffer.from(JSON.stringify(json));
    const lengths = Buffer.alloc(8);
    lengths.writeUInt32LE(text.length, 0);
    lengths.writeUInt32LE(bytes.length, 4);
    write(Buffer.concat([lengths, text, bytes]));
}

answer({ adapter: real?.name ?? null });
for (;;) {
    const lengths = read(8);
    const request = JSON.parse(read(lengths.readUInt32LE(0)).toString());
    const bytes = read(lengths.readUInt32LE(4));
    answer(...(await { compile, replay, page }[request.do](request, bytes)));
}
