// The page of a network of digits.

import { start } from './page.js';
import { Drawing } from './draw.js';

start(async (page) => {
    await page.check();
    const drawing = new Drawing(page);
    Object.assign(window, { sterna: { page, drawing } });
    await drawing.begin();
});
