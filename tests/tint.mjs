// Dawn, the WebGPU of Chrome, for the tests: WGSL by its compiler Tint, and a device that runs it. A test starts this
// script with Node and asks it through stdin and stdout. tests/common/dawn.rs is the other side.
//
//   node tests/tint.mjs FOLDER     the folder has node_modules/webgpu
//
// A message has four parts: two u32, the lengths of what follows; JSON; bytes. Each request has one answer.

import { readSync, writeSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

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

const pipelines = new Map();

// The pipeline of a program of a plan, made once.
async function programPipeline({ name, wgsl, overrides, subgroup }) {
    if (subgroup > real.subgroup) throw new Error(`${name}: it needs subgroups of ${subgroup}, here are some of ${real.subgroup}`);
    const key = JSON.stringify([wgsl, overrides]);
    if (!pipelines.has(key)) {
        pipelines.set(key, await pipeline(real, { wgsl, constants: Object.fromEntries(overrides) }));
    }
    const { made, faults } = pipelines.get(key);
    if (faults.length > 0) throw new Error(`${name}: ${faults[0].words}`);
    return made;
}

// Four words for counter (a, b) of a stream: src/random.rs.
function draw([low, high], stream, a, b) {
    const v = [low, (high ^ (stream << 24)) >>> 0, a, b];
    for (let i = 0; i < 4; i++) v[i] = (Math.imul(v[i], 1664525) + 1013904223) >>> 0;
    for (let round = 0; round < 2; round++) {
        for (const [to, x, y] of [[0, 1, 3], [1, 2, 0], [2, 0, 1], [3, 1, 2]]) v[to] = (v[to] + Math.imul(v[x], v[y])) >>> 0;
        for (let i = 0; i < 4; i++) v[i] = (v[i] ^ (v[i] >>> 16)) >>> 0;
    }
    return v;
}

const ORDER = 2;

function permutation(seed, epoch, count) {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
        const [high, low] = draw(seed, ORDER, epoch, i).map(BigInt);
        const j = Number((((high << 32n) | low) * BigInt(i + 1)) >> 64n);
        [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
}

// What the host writes into a tensor of so many words.
function words(fill, count, [pass, run]) {
    if (fill.permutation) return permutation(fill.permutation.seed, pass, count);
    const { per_pass, per_run } = fill.counter;
    return Uint32Array.from(per_pass, (each, i) => Math.imul(each, pass) + Math.imul(per_run[i], run));
}

// A plan of src/gpu/plan.rs: its buffers with their contents, and its lists bound.
async function bind(plan, contents) {
    const { device } = real;
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST } = GPUBufferUsage;
    const buffers = plan.buffers.map(({ label, bytes, content }) => {
        const buffer = device.createBuffer({ label, size: bytes, usage: STORAGE | COPY_SRC | COPY_DST });
        if (content !== null) device.queue.writeBuffer(buffer, 0, contents, content, bytes);
        return buffer;
    });
    const size = ({ shape }) => 4 * shape.reduce((product, n) => product * n, 1);
    const tensors = plan.tensors.map((tensor) => {
        const whole = { buffer: buffers[tensor.buffer] };
        // A part is bound to whole vectors of 16 bytes.
        const part = { ...whole, offset: tensor.offset, size: Math.max(16, Math.ceil(size(tensor) / 16) * 16) };
        return { at: tensor.offset === null ? whole : part, bytes: size(tensor) };
    });
    const made = await Promise.all(plan.kernels.map(programPipeline));
    const lists = plan.lists.map(({ ops }) => ops.map((op) => {
        const params = new Uint32Array(op.params);
        const uniform = device.createBuffer({ size: params.byteLength, usage: UNIFORM | COPY_DST });
        device.queue.writeBuffer(uniform, 0, params);
        buffers.push(uniform);
        const resources = [{ buffer: uniform }, ...op.tensors.map((number) => tensors[number].at)];
        const bindings = device.createBindGroup({
            layout: made[op.kernel].getBindGroupLayout(0),
            entries: resources.map((resource, binding) => ({ binding, resource })),
        });
        return { pipeline: made[op.kernel], bindings, groups: op.groups };
    }));
    return { buffers, tensors, lists };
}

function submit(lists) {
    const encoder = real.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const { pipeline, bindings, groups } of lists.flat()) {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, bindings);
        pass.dispatchWorkgroups(...groups);
    }
    pass.end();
    real.device.queue.submit([encoder.finish()]);
}

// The bytes of parts of buffers, one after the other.
async function download(parts) {
    const { device } = real;
    const total = parts.reduce((sum, { size }) => sum + size, 0);
    const staging = device.createBuffer({ size: total, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    const encoder = device.createCommandEncoder();
    let at = 0;
    for (const { buffer, offset, size } of parts) {
        encoder.copyBufferToBuffer(buffer, offset ?? 0, staging, at, size);
        at += size;
    }
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    const bytes = Buffer.from(new Uint8Array(staging.getMappedRange()));
    staging.destroy();
    return bytes;
}

// So many runs of a bound plan, and what the host does between them; what it read after each pass that ended.
async function runs({ host }, { tensors, lists }, count) {
    const { queue } = real.device;
    const order = host.runs.flatMap(([list, times]) => Array(times).fill(list));
    const part = (number) => ({ ...tensors[number].at, size: tensors[number].bytes });
    const read = [];
    let [pass, run] = host.at;
    for (let i = 0; i < count && pass < host.passes; i++) {
        if (i === 0 || run === 0) {
            for (const [number, fill] of host.aim) {
                const { at, bytes } = tensors[number];
                queue.writeBuffer(at.buffer, at.offset ?? 0, words(fill, bytes / 4, [pass, run]));
            }
        }
        if (run === 0) {
            for (const number of host.clear) {
                const { at, bytes } = tensors[number];
                queue.writeBuffer(at.buffer, at.offset ?? 0, new Uint8Array(bytes));
            }
        }
        submit([lists[order[run]]]);
        run += 1;
        if (run === order.length) {
            [pass, run] = [pass + 1, 0];
            const bytes = await download(host.read.map(part));
            read.push(Array.from({ length: bytes.length / 4 }, (_, word) => bytes.readUInt32LE(4 * word)));
        }
    }
    return read;
}

// Runs a plan, and answers with the bytes of all its buffers.
async function replay({ plan, runs: count }, contents) {
    const { device } = real;
    device.pushErrorScope('validation');
    let answer;
    try {
        const bound = await bind(plan, contents);
        const read = plan.host ? await runs(plan, bound, count) : submit(bound.lists);
        const buffers = plan.buffers.map(({ bytes }, i) => ({ buffer: bound.buffers[i], size: bytes }));
        answer = [{ read: read ?? [] }, await download(buffers)];
        bound.buffers.forEach((buffer) => buffer.destroy());
    } catch (error) {
        answer = [{ fault: error.message }];
    }
    const error = await device.popErrorScope();
    return error ? [{ fault: error.message }] : answer;
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
    answer(...(await { compile, replay }[request.do](request, bytes)));
}
