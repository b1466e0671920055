// Turns a grey picture of one digit into an image in the style of MNIST, by the rules of src/digit.rs and with the same
// bits: each operation is rounded to f32, as there.

/** @typedef {{ width: number, height: number, pixels: ArrayLike<number> }} Grey */

/** Pixels on each side of the result, and on the longer side of the digit. */
const SIDE = 28;
const BOX = 20;
/** A picture is reduced to about this many pixels on its longer side. */
const ENOUGH = 224;

const f = Math.fround;
/** Ink below this share of the strongest ink does not count for the bounding box. */
const FAINT = f(0.1);

/** The value below which this share of values lies. @param {Float32Array} values @param {number} share */
function quantile(values, share) {
    values.sort();
    return values[Math.trunc(f((values.length - 1) * f(share)))];
}

/**
 * The digit in a picture, 28 x 28, light on black. It is `undefined` if the whole picture is background.
 * @param {Grey} picture
 */
export function prepare(picture) {
    // A rectangle that looks like a frame may be the digit itself: a 0.
    const inside = unframed(picture);
    return (inside && placed(inside)) ?? placed(picture);
}

/** @param {Grey} whole */
function placed(whole) {
    const { width, height, pixels } = shrunk(whole);
    const ink = inked(width, height, pixels);
    if (!ink) return undefined;
    const inRow = (/** @type {number} */ y) => ink.subarray(y * width, (y + 1) * width).some((value) => value >= FAINT);
    const inColumn = (/** @type {number} */ x) => Array.from({ length: height }, (_, y) => ink[y * width + x]).some((value) => value >= FAINT);
    const [top, bottom] = ends(height, inRow);
    const [left, right] = ends(width, inColumn);
    const long = Math.max(bottom - top, right - left);
    const scaled = (/** @type {number} */ side) => Math.max(1, Math.floor((side * BOX + Math.floor(long / 2)) / long));
    const [high, wide] = [scaled(bottom - top), scaled(right - left)];
    const [down, across] = [spans(top, bottom - top, high), spans(left, right - left, wide)];
    const digit = new Float32Array(high * wide);
    for (const [y, rows] of down.entries()) {
        for (const [x, columns] of across.entries()) {
            let sum = 0;
            for (const [row, part] of rows) {
                let line = 0;
                for (const [column, share] of columns) line = f(line + f(share * ink[row * width + column]));
                sum = f(sum + f(part * line));
            }
            digit[y * wide + x] = sum;
        }
    }
    const mass = digit.reduce((sum, value) => f(sum + value), 0);
    const centre = (/** @type {(i: number) => number} */ at) => f(digit.reduce((sum, value, i) => f(sum + f(value * (at(i) + 0.5))), 0) / mass);
    const corner = (/** @type {number} */ middle, /** @type {number} */ side) => Math.min(Math.max(Math.round(f(SIDE / 2 - middle)), 0), SIDE - side);
    const x0 = corner(centre((i) => i % wide), wide);
    const y0 = corner(centre((i) => Math.floor(i / wide)), high);
    const peak = digit.reduce((most, value) => Math.max(most, value), 0);
    const out = new Uint8Array(SIDE * SIDE);
    for (const [i, value] of digit.entries()) {
        out[(y0 + Math.floor(i / wide)) * SIDE + x0 + (i % wide)] = Math.round(f(f(255 * value) / peak));
    }
    return out;
}

/** The inside of a frame, such as the outline of a canvas. @param {Grey} picture @returns {Grey | undefined} */
function unframed({ width, height, pixels }) {
    const [NEAR, MOST, RINGS, SEEN, SHARP] = [24, f(0.9), 64, 4096, 3];
    const step = Math.max(1, Math.floor((2 * (width + height)) / SEEN));
    /** The grey of the ring at this distance from the border. @param {number} inside */
    const ring = (inside) => {
        const [right, bottom] = [width - 1 - inside, height - 1 - inside];
        /** @type {number[][]} */
        const [across, down] = [[], []];
        for (let x = inside; x <= right; x++) across.push(inside * width + x, bottom * width + x);
        for (let y = inside; y <= bottom; y++) down.push(y * width + inside, y * width + right);
        const every = (/** @type {number[]} */ of) => of.filter((_, i) => i % step === 0);
        const greys = Float32Array.from([...every(across), ...every(down)], (i) => pixels[i]);
        const grey = quantile(greys, 0.5);
        const near = greys.filter((other) => Math.abs(f(other - grey)) <= NEAR).length;
        return near >= f(MOST * greys.length) ? grey : undefined;
    };
    const most = Math.min(Math.floor(Math.min(width, height) / 8), RINGS);
    const outer = most > 0 ? ring(0) : undefined;
    if (outer === undefined) return undefined;
    const rings = Array.from({ length: most + 1 }, (_, inside) => ring(inside));
    const first = rings.findIndex((grey, inside) => inside > 0 && grey !== undefined && Math.abs(f(grey - outer)) > NEAR);
    if (first < 0) return undefined;
    const before = rings[Math.max(0, first - SHARP)];
    if (before === undefined || Math.abs(f(before - outer)) > NEAR / 2) return undefined;
    // The first ring that is like the previous one. A ring between two greys is a mixture.
    const alike = rings.findIndex((grey, inside) => {
        const last = rings[inside - 1];
        return inside > first && grey !== undefined && last !== undefined && Math.abs(f(grey - last)) <= NEAR;
    });
    const cut = alike < 0 ? first : alike - 1;
    const [wide, high] = [width - 2 * cut, height - 2 * cut];
    const kept = Float32Array.from({ length: wide * high }, (_, i) => pixels[(Math.floor(i / wide) + cut) * width + cut + (i % wide)]);
    const inside = { width: wide, height: high, pixels: kept };
    return unframed(inside) ?? inside;
}

/** The means of squares of pixels. @param {Grey} picture @returns {Grey} */
function shrunk(picture) {
    const by = Math.max(1, Math.floor(Math.max(picture.width, picture.height) / ENOUGH));
    if (by === 1) return picture;
    const [across, down] = [Math.min(by, picture.width), Math.min(by, picture.height)];
    const [width, height] = [Math.floor(picture.width / across), Math.floor(picture.height / down)];
    const pixels = Float32Array.from({ length: width * height }, (_, i) => {
        let sum = 0;
        for (let y = 0; y < down; y++) {
            const start = (Math.floor(i / width) * down + y) * picture.width + (i % width) * across;
            for (let x = 0; x < across; x++) sum += picture.pixels[start + x];
        }
        return sum / (across * down);
    });
    return { width, height, pixels };
}

/** The ink of each pixel, from 0 to 1, by its distance from a plane of grey. @param {number} width @param {number} height @param {ArrayLike<number>} pixels */
function inked(width, height, pixels) {
    const at = (/** @type {number} */ i, /** @type {number} */ side) => f(f((2 * i + 1) / side) - 1);
    const xs = Float32Array.from({ length: width }, (_, i) => at(i, width));
    const ys = Float32Array.from({ length: height }, (_, i) => at(i, height));
    const border = [];
    for (let i = 0; i < pixels.length; i++) {
        const [x, y] = [i % width, Math.floor(i / width)];
        if (x === 0 || x === width - 1 || y === 0 || y === height - 1) border.push(i);
    }
    let level = quantile(Float32Array.from(border, (i) => pixels[i]), 0.5);
    const slope = [0, 0];
    const far = (/** @type {number} */ i) => f(f(f(pixels[i] - level) - f(slope[0] * xs[i % width])) - f(slope[1] * ys[Math.floor(i / width)]));
    for (let round = 0; round < 20; round++) {
        const away = Float32Array.from(border, far);
        const spread = quantile(away.map(Math.abs), 0.5);
        // A digit may touch the border. Pixels far from the plane do not influence it.
        const limit = f(1 + f(3 * spread));
        let [sum, count] = [0, 0];
        const [along, length] = [[0, 0], [0, 0]];
        for (const [k, i] of border.entries()) {
            if (Math.abs(away[k]) > limit) continue;
            count += 1;
            sum = f(sum + away[k]);
            for (const [axis, place] of [xs[i % width], ys[Math.floor(i / width)]].entries()) {
                along[axis] = f(along[axis] + f(away[k] * place));
                length[axis] = f(length[axis] + f(place * place));
            }
        }
        level = f(level + f(sum / count));
        for (const axis of [0, 1]) slope[axis] = f(slope[axis] + (length[axis] > 0 ? f(along[axis] / length[axis]) : 0));
    }
    const all = Float32Array.from({ length: pixels.length }, (_, i) => far(i));
    let [above, below] = [0, 0];
    for (const value of all) [above, below] = [Math.max(above, value), Math.max(below, -value)];
    const [sign, peak] = below > above ? [-1, below] : [1, above];
    // At most a third of the ink counts as noise, because a digit may touch the border here too.
    const floor = Math.min(quantile(Float32Array.from(border, (i) => Math.abs(all[i])), 0.9), f(peak / 3));
    const range = f(peak - floor);
    return range < 1 ? undefined : all.map((value) => Math.max(0, f(f(sign * value - floor) / range)));
}

/** The first and the last position with ink, the last one excluded. @param {number} side @param {(at: number) => boolean} ink */
function ends(side, ink) {
    let [first, last] = [0, side - 1];
    while (first < side - 1 && !ink(first)) first++;
    while (last > first && !ink(last)) last--;
    return [first, last + 1];
}

/** For each pixel of the result the source pixels under it, with their shares. @param {number} start @param {number} side @param {number} into */
function spans(start, side, into) {
    const each = f(side / into);
    return Array.from({ length: into }, (_, i) => {
        const [from, to] = [f(i * each), f((i + 1) * each)];
        const end = Math.min(Math.ceil(to), side);
        /** @type {[number, number][]} */
        const span = [];
        for (let at = Math.trunc(from); at < end; at++) {
            span.push([start + at, Math.max(0, f(f(Math.min(to, at + 1) - Math.max(from, at)) / each))]);
        }
        return span;
    });
}
