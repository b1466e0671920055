// Prepares pictures by web/digit.js for the tests. stdin holds one JSON object: for each picture width, height and pixels.
// stdout is a JSON list of the digits, null where there is none.

import { readFileSync } from 'node:fs';
import { prepare } from '../web/digit.js';

const pictures = JSON.parse(readFileSync(0, 'utf8'));
const digits = pictures.map(({ width, height, pixels }) => prepare({ width, height, pixels: Float32Array.from(pixels) }));
process.stdout.write(JSON.stringify(digits.map((digit) => (digit ? Array.from(digit) : null))));
