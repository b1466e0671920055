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
    return { gpu, device, features, name: adapter.info.description || adapter.info.device };
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

// Runs ops, each a dispatch of its shader over parts of the buffers, and answers with the bytes of all buffers.
async function run({ ops, buffers }, bytes) {
    const { device } = real;
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const starts = buffers.map((_, i) => buffers.slice(0, i).reduce((sum, size) => sum + size, 0));
    const held = buffers.map((size, i) => {
        const buffer = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
        device.queue.writeBuffer(buffer, 0, bytes, starts[i], size);
        return buffer;
    });
    const total = bytes.length;
    const staging = device.createBuffer({ size: total, usage: MAP_READ | COPY_DST });
    const uniforms = [];
    const encoder = device.createCommandEncoder();
    const pipelinesOf = [];
    for (const op of ops) {
        const key = JSON.stringify([op.wgsl, op.constants]);
        if (!pipelines.has(key)) pipelines.set(key, await pipeline(real, op));
        const { made, faults } = pipelines.get(key);
        if (faults.length > 0) return [{ fault: `${op.name}: ${faults[0].words}` }];
        pipelinesOf.push(made);
    }
    device.pushErrorScope('validation');
    const pass = encoder.beginComputePass();
    ops.forEach((op, i) => {
        const params = new Uint32Array(op.params);
        const uniform = device.createBuffer({ size: params.byteLength, usage: UNIFORM | COPY_DST });
        device.queue.writeBuffer(uniform, 0, params);
        uniforms.push(uniform);
        const tensor = ({ buffer, offset, size }) => ({ buffer: held[buffer], offset, size: size ?? undefined });
        const resources = [{ buffer: uniform }, ...op.tensors.map(tensor)];
        const bindings = device.createBindGroup({
            layout: pipelinesOf[i].getBindGroupLayout(0),
            entries: resources.map((resource, binding) => ({ binding, resource })),
        });
        pass.setPipeline(pipelinesOf[i]);
        pass.setBindGroup(0, bindings);
        pass.dispatchWorkgroups(...op.groups);
    });
    pass.end();
    held.forEach((buffer, i) => encoder.copyBufferToBuffer(buffer, 0, staging, starts[i], buffers[i]));
    device.queue.submit([encoder.finish()]);
    const error = await device.popErrorScope();
    if (error) return [{ fault: error.message }];
    await staging.mapAsync(GPUMapMode.READ);
    const result = Buffer.from(new Uint8Array(staging.getMappedRange()));
    for (const buffer of [staging, ...held, ...uniforms]) buffer.destroy();
    return [{}, result];
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
    answer(...(await { compile, run }[request.do](request, bytes)));
}
