// Replays a plan of Sterna: lists of dispatches over buffers, as src/gpu/plan.rs writes them. This file knows no
// operation and no network. It builds pipelines, binds buffers, submits lists, and reads tensors back. Browsers run it,
// and Node with Dawn.

/**
 * @typedef {{ name: string, wgsl: string, overrides: [string, number][], subgroup: number, f16: boolean }} Program
 * @typedef {{ label: string, bytes: number, content: number | null }} Stored
 * @typedef {{ label: string, buffer: number, offset: number | null, dtype: string, shape: number[] }} Place
 * @typedef {{ kernel: number, params: number[], tensors: number[], groups: [number, number, number],
 *     bytes: number, ops: number, phase: string }} Dispatch
 * @typedef {{ name: string, ops: Dispatch[] }} List
 * @typedef {{ permutation: { seed: [number, number] } }} Permutation
 * @typedef {{ counter: { per_pass: number[], per_run: number[] } }} Counter
 * @typedef {{ passes: number, at: [number, number], runs: [number, number][],
 *     aim: [number, Permutation | Counter][], clear: number[], read: number[] }} Host
 * @typedef {{ kernels: Program[], buffers: Stored[], tensors: Place[], lists: List[], host: Host | null }} Plan
 * @typedef {{ pipeline: GPUComputePipeline, bindings: GPUBindGroup, groups: [number, number, number] }} Bound
 */

// --- draws by counter: src/random.rs -----------------------------------------------------------------------------------

/** The purposes of draws that a page needs. */
export const STREAM = { order: 2, sample: 6 };

/**
 * Four words for the counter (a, b) of a stream.
 * @param {[number, number]} seed the low word first
 * @param {number} stream
 * @param {number} a
 * @param {number} b
 */
export function draw([low, high], stream, a, b) {
    const v = [low, (high ^ (stream << 24)) >>> 0, a, b];
    for (let i = 0; i < 4; i++) v[i] = (Math.imul(v[i], 1664525) + 1013904223) >>> 0;
    for (let round = 0; round < 2; round++) {
        for (const [to, x, y] of [[0, 1, 3], [1, 2, 0], [2, 0, 1], [3, 1, 2]]) {
            v[to] = (v[to] + Math.imul(v[x], v[y])) >>> 0;
        }
        for (let i = 0; i < 4; i++) v[i] = (v[i] ^ (v[i] >>> 16)) >>> 0;
    }
    return v;
}

/**
 * The order of `count` items in a pass (Fisher-Yates).
 * @param {[number, number]} seed
 * @param {number} pass
 * @param {number} count
 */
export function permutation(seed, pass, count) {
    const order = Uint32Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
        const [high, low] = draw(seed, STREAM.order, pass, i);
        // The upper part of the product of 64 random bits and i + 1. Halves of 32 bits keep each product exact.
        const carry = Math.floor((low * (i + 1)) / 2 ** 32);
        const j = Math.floor((high * (i + 1) + carry) / 2 ** 32);
        [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
}

/**
 * The words that a host writes into a tensor of `count` words.
 * @param {Permutation | Counter} fill
 * @param {number} count
 * @param {[number, number]} at completed passes, and completed runs of the current pass
 */
function words(fill, count, [pass, run]) {
    if ('permutation' in fill) return permutation(fill.permutation.seed, pass, count);
    const { per_pass, per_run } = fill.counter;
    return Uint32Array.from(per_pass, (each, i) => Math.imul(each, pass) + Math.imul(per_run[i], run));
}

// --- pipelines -----------------------------------------------------------------------------------------------------------

/** The pipelines of each device, by text and overrides. Compiling takes longer than anything else.
 *  @type {WeakMap<GPUDevice, Map<string, Promise<GPUComputePipeline>>>} */
const pipelines = new WeakMap();

/**
 * The pipeline of a program. An error says which program is at fault, and what the compiler has against it.
 * @param {GPUDevice} device
 * @param {Program} program
 * @param {string} more WGSL text that is appended
 */
function compiled(device, program, more) {
    const known = pipelines.get(device) ?? new Map();
    pipelines.set(device, known);
    const key = JSON.stringify([program.wgsl, program.overrides, more]);
    if (!known.has(key)) known.set(key, compile(device, program, more));
    return /** @type {Promise<GPUComputePipeline>} */ (known.get(key));
}

/**
 * @param {GPUDevice} device
 * @param {Program} program
 * @param {string} more
 */
async function compile(device, { name, wgsl, overrides, subgroup, f16 }, more) {
    const needs = [subgroup > 0 ? 'subgroups' : '', f16 ? 'shader-f16' : ''].filter((feature) => feature !== '');
    const lack = needs.find((feature) => !device.features.has(feature));
    if (lack) throw new Error(`${name} needs ${lack}, which this device lacks`);
    const module = device.createShaderModule({ label: `${name}.wgsl`, code: wgsl + more });
    const constants = Object.fromEntries(overrides);
    const compute = { module, entryPoint: 'main', constants };
    try {
        return await device.createComputePipelineAsync({ label: name, layout: 'auto', compute });
    } catch (error) {
        const { messages } = await module.getCompilationInfo();
        const fault = messages.find(({ type }) => type === 'error');
        const why = fault ? `line ${fault.lineNum}: ${fault.message}` : String(/** @type {Error} */ (error).message);
        throw new Error(`${name} does not compile: ${why}`);
    }
}

// --- a plan on a device ---------------------------------------------------------------------------------------------------

/** A plan that is bound to a device. Buffers, pipelines and bindings are made when a list is first prepared. */
export class Replay {
    /**
     * @param {GPUDevice} device
     * @param {Plan} plan
     * @param {Uint8Array<ArrayBuffer>} contents what the buffers hold at first
     * @param {{ half?: number, more?: string }} [variant] `half` is 1 for the second half of the lists, `more` is WGSL
     *     text for every shader
     */
    constructor(device, plan, contents, { half = 0, more = '' } = {}) {
        this.device = device;
        this.plan = plan;
        this.contents = contents;
        this.first = half * Math.floor(plan.lists.length / 2);
        this.more = more;
        /** @type {(GPUBuffer | undefined)[]} */
        this.buffers = [];
        /** @type {(Bound[] | undefined)[]} */
        this.bound = [];
    }

    /** The list with this name, as data. @param {string} name */
    list(name) {
        return this.plan.lists[this.number(name)];
    }

    /** @param {string} name */
    number(name) {
        const at = this.plan.lists.findIndex((list, i) => i >= this.first && list.name === name);
        if (at < 0) throw new Error(`the plan has no list ${name}`);
        return at;
    }

    /** A buffer with its contents. @param {number} number */
    buffer(number) {
        const made = this.buffers[number];
        if (made) return made;
        const { label, bytes, content } = this.plan.buffers[number];
        const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
        const buffer = this.device.createBuffer({ label, size: bytes, usage });
        if (content !== null) this.device.queue.writeBuffer(buffer, 0, this.contents, content, bytes);
        this.buffers[number] = buffer;
        return buffer;
    }

    /** Gives every buffer its first contents again. */
    reset() {
        for (const [i, buffer] of this.buffers.entries()) {
            const { bytes, content } = this.plan.buffers[i];
            const [values, from] = content === null ? [new Uint8Array(bytes), 0] : [this.contents, content];
            if (buffer) this.device.queue.writeBuffer(buffer, 0, values, from, bytes);
        }
    }

    /** Buffer, offset and size of a tensor. @param {number} number */
    place(number) {
        const { buffer, offset, shape } = this.plan.tensors[number];
        const bytes = 4 * shape.reduce((product, length) => product * length, 1);
        return { buffer: this.buffer(buffer), offset: offset ?? 0, part: offset !== null, bytes };
    }

    /** Compiles and binds these lists, all of them at the same time. @param {...string} names */
    async prepare(...names) {
        await Promise.all(names.map((name) => this.bind(this.number(name))));
    }

    /** @param {number} number */
    async bind(number) {
        if (this.bound[number]) return;
        const { device, plan } = this;
        const bound = plan.lists[number].ops.map(async ({ kernel, params, tensors, groups }) => {
            const pipeline = await compiled(device, plan.kernels[kernel], this.more);
            const uniform = device.createBuffer({
                label: `${plan.kernels[kernel].name}.params`,
                size: 4 * params.length,
                usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
            });
            device.queue.writeBuffer(uniform, 0, new Uint32Array(params));
            const resources = tensors.map((tensor) => {
                const { buffer, offset, part, bytes } = this.place(tensor);
                // A part is bound to whole vectors of 16 bytes.
                return part ? { buffer, offset, size: Math.max(16, Math.ceil(bytes / 16) * 16) } : { buffer };
            });
            const entries = [{ buffer: uniform }, ...resources].map((resource, binding) => ({ binding, resource }));
            const layout = pipeline.getBindGroupLayout(0);
            return { pipeline, bindings: device.createBindGroup({ layout, entries }), groups };
        });
        this.bound[number] = await Promise.all(bound);
    }

    /** Submits lists that are prepared, in one pass. @param {number[]} numbers */
    submit(numbers) {
        const encoder = this.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        for (const number of numbers) {
            for (const { pipeline, bindings, groups } of this.bound[number] ?? []) {
                pass.setPipeline(pipeline);
                pass.setBindGroup(0, bindings);
                pass.dispatchWorkgroups(...groups);
            }
        }
        pass.end();
        this.device.queue.submit([encoder.finish()]);
    }

    /** Runs a list that is prepared. @param {string} name */
    run(name) {
        this.submit([this.number(name)]);
    }

    /** Overwrites a tensor, after all work that was submitted. @param {number} number @param {ArrayBufferView<ArrayBuffer>} values */
    write(number, values) {
        const { buffer, offset, bytes } = this.place(number);
        if (values.byteLength !== bytes) throw new Error(`${values.byteLength} bytes for a tensor of ${bytes}`);
        this.device.queue.writeBuffer(buffer, offset, values.buffer, values.byteOffset, bytes);
    }

    /** The words of these tensors, after all work that was submitted. @param {...number} numbers */
    async read(...numbers) {
        return await this.download(numbers.map((number) => this.place(number)));
    }

    /** @param {{ buffer: GPUBuffer, offset: number, bytes: number }[]} places */
    async download(places) {
        const size = places.reduce((sum, { bytes }) => sum + bytes, 0);
        const staging = this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
        const encoder = this.device.createCommandEncoder();
        let at = 0;
        for (const { buffer, offset, bytes } of places) {
            encoder.copyBufferToBuffer(buffer, offset, staging, at, bytes);
            at += bytes;
        }
        this.device.queue.submit([encoder.finish()]);
        await staging.mapAsync(GPUMapMode.READ);
        const all = staging.getMappedRange().slice(0);
        staging.destroy();
        at = 0;
        return places.map(({ bytes }) => {
            at += bytes;
            return new Uint32Array(all, at - bytes, bytes / 4);
        });
    }

    /** Writes what the next run needs from the host. @param {Host} host */
    aim(host) {
        for (const [number, fill] of host.aim) this.write(number, words(fill, this.place(number).bytes / 4, host.at));
        if (host.at[1] > 0) return;
        for (const number of host.clear) this.write(number, new Uint8Array(this.place(number).bytes));
    }

    /**
     * Runs at most `count` of the remaining runs of a host. Returns the words of each tensor of `host.read`, after each
     * pass that ended.
     * @param {Host} host its position moves on
     * @param {number} count
     */
    async runs(host, count) {
        const order = host.runs.flatMap(([list, times]) => Array(times).fill(list + this.first));
        await Promise.all(host.runs.map(([list]) => this.bind(list + this.first)));
        const read = [];
        for (let left = count, fresh = true; left > 0 && host.at[0] < host.passes; fresh = false) {
            const [pass, run] = host.at;
            if (fresh || run === 0) this.aim(host);
            const end = Math.min(run + left, order.length);
            this.submit(order.slice(run, end));
            left -= end - run;
            host.at = end === order.length ? [pass + 1, 0] : [pass, end];
            if (host.at[1] === 0) read.push(await this.read(...host.read));
        }
        return read;
    }

    /** The words of all buffers. */
    async everything() {
        return await this.download(this.plan.buffers.map(({ bytes }, i) => ({ buffer: this.buffer(i), offset: 0, bytes })));
    }

    /** Frees the memory of all buffers. */
    destroy() {
        for (const buffer of this.buffers) buffer?.destroy();
    }
}
