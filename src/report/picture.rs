//! Pictures as PNG bytes: matrices, the confusion matrix, and the images that a network sees. This module knows trits,
//! counts and pixels. It draws text itself, so it needs no font of the system.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::{Walk, thousands};
use crate::ternary::Packed;

type Color = [u8; 3];

const WHITE: Color = [0xff, 0xff, 0xff];
const INK: Color = [0x1f, 0x29, 0x33];
const MUTED: Color = [0x6b, 0x77, 0x85];
const RULE: Color = [0xc9, 0xd0, 0xd8];
/// Okabe and Ito's blue and vermilion. All people can tell them apart, and both from a white zero.
const MINUS: Color = [0x00, 0x72, 0xb2];
const ZERO: Color = [0xf7, 0xf7, 0xf4];
const PLUS: Color = [0xd5, 0x5e, 0x00];

const MARGIN: usize = 24;
/// The largest width of a picture, and the largest height of one matrix, in pixels.
const SIDE: usize = 1024;

// --- the page --------------------------------------------------------------------------------------

/// A font of the page: weight and height of a line.
type Font = (FontWeight, RasterHeight);

const HEADLINE: Font = (FontWeight::Bold, RasterHeight::Size20);
const STRONG: Font = (FontWeight::Bold, RasterHeight::Size16);
const PLAIN: Font = (FontWeight::Regular, RasterHeight::Size16);

/// Width of a line of text in pixels.
fn measure(text: &str, (weight, height): Font) -> usize {
    text.chars().count() * get_raster_width(weight, height)
}

/// A white page of fixed width. It grows downwards with its content.
struct Page {
    width: usize,
    pixels: Vec<Color>,
}

impl Page {
    fn new(width: usize) -> Page {
        Page { width, pixels: Vec::new() }
    }

    /// Extends the page to this height.
    fn reach(&mut self, height: usize) {
        if self.pixels.len() < height * self.width {
            self.pixels.resize(height * self.width, WHITE);
        }
    }

    /// A filled rectangle from its upper left corner. The right edge of the page cuts it off.
    fn fill(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], color: Color) {
        self.reach(y + height);
        let (from, to) = (x.min(self.width), (x + width).min(self.width));
        for row in y..y + height {
            self.pixels[row * self.width + from..row * self.width + to].fill(color);
        }
    }

    /// One line of text, placed by its upper left corner.
    fn text(&mut self, [x, y]: [usize; 2], text: &str, font: Font, color: Color) {
        self.glyphs(text, font, color, |along, down| [x + along, y + down]);
    }

    /// One line of text that runs upwards, placed by its lower left corner.
    fn text_up(&mut self, [x, y]: [usize; 2], text: &str, font: Font, color: Color) {
        self.glyphs(text, font, color, |along, down| [x + down, y.saturating_sub(along)]);
    }

    fn glyphs(
        &mut self,
        text: &str,
        (weight, height): Font,
        color: Color,
        at: impl Fn(usize, usize) -> [usize; 2],
    ) {
        let advance = get_raster_width(weight, height);
        for (i, letter) in text.chars().enumerate() {
            let raster = get_raster(letter, weight, height).or_else(|| get_raster('?', weight, height));
            let raster = raster.expect("the question mark is a Latin letter's neighbour");
            for (down, row) in raster.rows().enumerate() {
                for (along, &ink) in row.iter().enumerate().filter(|(_, ink)| **ink > 0) {
                    let [x, y] = at(i * advance + along, down);
                    self.reach(y + 1);
                    if x < self.width {
                        let pixel = &mut self.pixels[y * self.width + x];
                        *pixel = mix(*pixel, color, f64::from(ink) / 255.0);
                    }
                }
            }
        }
    }

    /// Text from the left margin, broken between words. Returns the y coordinate below it.
    fn paragraph(&mut self, y: usize, text: &str, font: Font, color: Color) -> usize {
        let room = self.width.saturating_sub(2 * MARGIN);
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let line = lines.last_mut().expect("there is a first line");
            if line.is_empty() {
                line.push_str(word);
            } else if measure(line, font) + measure(word, font) < room {
                line.push(' ');
                line.push_str(word);
            } else {
                lines.push(word.into());
            }
        }
        let height = font.1.val() + 4;
        for (i, line) in lines.iter().enumerate() {
            self.text([MARGIN, y + i * height], line, font, color);
        }
        y + lines.len() * height
    }

    /// The title. Returns the y coordinate below it.
    fn title(&mut self, title: &str) -> usize {
        self.paragraph(MARGIN, title, HEADLINE, INK) + 4
    }

    fn png(mut self) -> Vec<u8> {
        let height = self.pixels.len().div_ceil(self.width) + MARGIN;
        self.reach(height);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(self.pixels.as_flattened())?;
            writer.finish()
        });
        written.expect("a whole image is written into memory");
        bytes
    }
}

/// The colour between two colours, at this share of the way.
fn mix(from: Color, to: Color, share: f64) -> Color {
    let channel = |i: usize| {
        let (from, to) = (f64::from(from[i]), f64::from(to[i]));
        (from + (to - from) * share).round() as u8
    };
    [0, 1, 2].map(channel)
}

/// `3 neurons`, `1 neuron`.
fn plural(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", thousands(n), if n == 1 { "" } else { "s" })
}

/// `all 10`, or `the first 256 of 1,024`.
fn first(shown: usize, all: usize) -> String {
    if shown < all {
        format!("the first {} of {}", thousands(shown), thousands(all))
    } else {
        format!("all {}", thousands(all))
    }
}

// --- weights ---------------------------------------------------------------------------------------

/// The largest number of neurons with a picture of their receptive field.
const FIELDS: usize = 256;
const GAP: usize = 4;

/// The colour of a weight from -1 to 1.
fn shade(share: f64) -> Color {
    mix(ZERO, if share < 0.0 { MINUS } else { PLUS }, share.abs())
}

/// A matrix for a picture.
pub enum Weights<'a> {
    /// A matrix of trits.
    Trits(&'a Packed),
    /// A matrix of floats in row-major order, and its number of columns.
    Floats(&'a [f32], usize),
}

impl Weights<'_> {
    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        match self {
            Weights::Trits(packed) => [packed.rows, packed.cols],
            Weights::Floats(values, cols) => [values.len() / (*cols).max(1), *cols],
        }
    }

    /// The value of an element, from -1 to 1: the trit, or the float divided by the largest absolute value of its
    /// matrix.
    pub fn share(&self) -> impl Fn(usize, usize) -> f64 {
        let largest = match self {
            Weights::Trits(_) => 1.0,
            Weights::Floats(values, _) => values.iter().fold(f32::MIN_POSITIVE, |most, w| most.max(w.abs())),
        };
        move |row, col| match self {
            Weights::Trits(packed) => f64::from(packed.trit(row, col)),
            Weights::Floats(values, cols) => f64::from(values[row * cols + col] / largest),
        }
    }
}

/// A picture of every matrix, under its name. For the first one it also shows the receptive field of each neuron, for
/// images with this height and width. Large matrices are shown in part, and the picture says so.
pub fn weights_png(title: &str, layers: &[(String, Weights)], image: [usize; 2]) -> Vec<u8> {
    let mut page = Page::new(SIDE + 2 * MARGIN);
    let mut y = page.title(title) + 4;
    let mut x = MARGIN;
    let meanings = match layers.first() {
        Some((_, Weights::Floats(..))) => ["the most negative of a matrix", "0", "the most positive"],
        _ => ["-1 subtracts its input", "0 skips its input", "+1 adds its input"],
    };
    for (share, meaning) in [-1.0, 0.0, 1.0].into_iter().zip(meanings) {
        swatch(&mut page, [x, y], shade(share));
        page.text([x + 24, y], meaning, PLAIN, INK);
        x += 24 + measure(meaning, PLAIN) + 28;
    }
    y += 36;
    if let Some((_, layer)) = layers.first() {
        y = fields(&mut page, y, layer, image);
    }
    // With few layers each matrix has full height. With many layers each one is a strip.
    let tall = (3 * SIDE / layers.len().max(1)).clamp(64, SIDE);
    for (name, layer) in layers {
        y = matrix(&mut page, y, name, layer, tall);
    }
    page.png()
}

fn swatch(page: &mut Page, [x, y]: [usize; 2], color: Color) {
    page.fill([x, y], [16, 16], RULE);
    page.fill([x + 1, y + 1], [14, 14], color);
}

/// A grid of the first layer's rows, each in the shape of the image. Returns the y coordinate below it.
fn fields(page: &mut Page, y: usize, layer: &Weights, [height, width]: [usize; 2]) -> usize {
    let [rows, cols] = layer.shape();
    if height * width != cols || cols * rows == 0 || height.max(width) > SIDE - 2 * GAP {
        return y;
    }
    // The largest tiles for which all requested neurons fit on the page.
    let fit = |side: usize, scale: usize| (SIDE - GAP) / (side * scale + GAP);
    let asked = rows.min(FIELDS);
    let scale = (1..=8).rev().find(|&scale| fit(width, scale) * fit(height, scale) >= asked).unwrap_or(1);
    let across = fit(width, scale);
    let shown = asked.min(across * fit(height, scale));
    // The same number of rows, filled evenly.
    let across = shown.div_ceil(shown.div_ceil(across));

    let heading = format!("What layer 0 looks for: {} neurons", first(shown, rows));
    let mut y = page.paragraph(y, &heading, STRONG, INK);
    let told =
        format!("Each tile is one neuron: its {width} x {height} weights, laid over the image's pixels.");
    y = page.paragraph(y, &told, PLAIN, MUTED);
    let border =
        "A pixel that is 0 in every image teaches nothing: its weights stay as random as they began.";
    y = page.paragraph(y, border, PLAIN, MUTED) + 4;
    let share = layer.share();
    let tile = [width * scale, height * scale];
    for row in 0..shown {
        let left = MARGIN + GAP + row % across * (tile[0] + GAP);
        let top = y + GAP + row / across * (tile[1] + GAP);
        page.fill([left - GAP, top - GAP], tile.map(|side| side + 2 * GAP), RULE);
        for col in 0..cols {
            let at = [left + col % width * scale, top + col / width * scale];
            page.fill(at, [scale, scale], shade(share(row, col)));
        }
    }
    y + shown.div_ceil(across) * (tile[1] + GAP) + GAP + 28
}

/// One matrix below its caption. Returns the y coordinate below it.
fn matrix(page: &mut Page, y: usize, name: &str, layer: &Weights, tall: usize) -> usize {
    let [rows, cols] = layer.shape();
    let what = match layer {
        Weights::Trits(packed) => {
            let zeros = 100.0 * packed.histogram()[1] as f64 / (rows * cols).max(1) as f64;
            format!("{zeros:.1} % zeros")
        }
        Weights::Floats(values, _) => {
            let [least, most] =
                [f32::min, f32::max].map(|of| values.iter().copied().reduce(of).unwrap_or(0.0));
            format!("from {least:.3} to {most:.3}")
        }
    };
    let caption = format!("{name}: {} x {}, {what}", thousands(rows), thousands(cols));
    let mut y = page.paragraph(y, &caption, STRONG, INK);
    let shown = [cols.min(SIDE), rows.min(tall)];
    let mut told = format!(
        "A row for each of {}, a column for each of {}.",
        plural(rows, "neuron"),
        plural(cols, "input")
    );
    if shown != [cols, rows] {
        let part = [first(shown[1], rows), first(shown[0], cols)];
        told.push_str(&format!(" Too large to show whole: {} rows and {} columns.", part[0], part[1]));
    }
    y = page.paragraph(y, &told, PLAIN, MUTED) + 4;
    let scale = (SIDE / shown[0].max(1)).min(tall / shown[1].max(1)).clamp(1, 16);
    page.fill([MARGIN - 1, y], [shown[0] * scale + 2, shown[1] * scale + 2], RULE);
    let share = layer.share();
    for row in 0..shown[1] {
        for col in 0..shown[0] {
            let at = [MARGIN + col * scale, y + 1 + row * scale];
            page.fill(at, [scale, scale], shade(share(row, col)));
        }
    }
    y + shown[1] * scale + 28
}

// --- confusion -------------------------------------------------------------------------------------

/// The palest and the strongest colour for correct and for wrong predictions.
const RIGHT: [Color; 2] = [[0xd9, 0xea, 0xf5], [0x00, 0x5a, 0x94]];
const WRONG: [Color; 2] = [[0xfd, 0xe6, 0xd3], [0xc2, 0x41, 0x00]];

/// A heat map of true classes (rows) and predicted classes (columns). The recall of each row is at its right.
///
/// The diagonal dominates, so it has its own colour. Errors are coloured by the logarithm of their count.
pub fn confusion_png(title: &str, confusion: &[Vec<u32>]) -> Vec<u8> {
    let classes = confusion.iter().map(Vec::len).chain([confusion.len()]).max().unwrap_or(0);
    let count =
        |row: usize, col: usize| confusion.get(row).and_then(|r| r.get(col)).map_or(0, |&n| u64::from(n));
    let of_row = |row: usize| (0..classes).map(|col| count(row, col)).sum::<u64>();
    let share = |right: u64, all: u64| if all == 0 { 0.0 } else { right as f64 / all as f64 };
    let (all, right) = ((0..classes).map(of_row).sum(), (0..classes).map(|k| count(k, k)).sum());
    let pairs = (0..classes).flat_map(|row| (0..classes).map(move |col| (row, col)));
    let mut errors: Vec<(u64, usize, usize)> = pairs
        .filter(|(row, col)| row != col && count(*row, *col) > 0)
        .map(|(row, col)| (count(row, col), row, col))
        .collect();
    errors.sort_by_key(|&(n, row, col)| (std::cmp::Reverse(n), row, col));
    let worst = errors.first().map_or(0, |&(n, ..)| n);

    let cell = (1240 / classes.max(1)).clamp(4, 56);
    let grid = cell * classes;
    let digits = classes.saturating_sub(1).to_string().len();
    let letter = measure("0", PLAIN);
    // If cells are narrower than a label, only every few cells have one.
    let every = (digits * letter + 4).max(16).div_ceil(cell);
    let [left, recall] = [MARGIN + 28 + digits * letter + 8, 84];
    let mut page = Page::new((left + grid + recall + MARGIN).max(760));

    let mut y = page.title(title);
    let score = format!(
        "{} of {} right: {:.2} %",
        thousands(right as usize),
        thousands(all as usize),
        100.0 * share(right, all)
    );
    y = page.paragraph(y, &score, STRONG, INK);
    if !errors.is_empty() {
        let told = |&(n, row, col): &(u64, usize, usize)| format!("{row} taken for {col} ({n} times)");
        let most: Vec<String> = errors.iter().take(3).map(told).collect();
        let most = most.join(", ").replace("(1 times)", "(once)");
        y = page.paragraph(y, &format!("Most frequent errors: {most}"), PLAIN, INK);
    }
    y += 12;
    let said = "what the network said";
    page.text([left + (grid / 2).saturating_sub(measure(said, STRONG) / 2), y], said, STRONG, MUTED);
    y += 22;
    page.text([left + grid + 14, y], "recall", STRONG, MUTED);
    for k in (0..classes).step_by(every) {
        let label = k.to_string();
        page.text([left + k * cell + center(cell, measure(&label, PLAIN)), y], &label, PLAIN, INK);
    }
    y += 20;

    // Lines between cells, if the cells are large enough.
    let line = usize::from(cell >= 12);
    page.fill([left - line, y - line], [grid + 2 * line, grid + 2 * line], RULE);
    for row in 0..classes {
        let top = y + row * cell;
        let total = of_row(row);
        for col in 0..classes {
            let n = count(row, col);
            let color = match (n, row == col) {
                (0, false) => WHITE,
                (_, true) => mix(RIGHT[0], RIGHT[1], share(n, total)),
                (_, false) => mix(WRONG[0], WRONG[1], strength(n, worst)),
            };
            page.fill([left + col * cell, top], [cell - line, cell - line], color);
            let text = n.to_string();
            let width = measure(&text, PLAIN);
            if (n > 0 || row == col) && width + 2 <= cell && cell >= 18 {
                let at = [left + col * cell + center(cell, width), top + center(cell, 16)];
                page.text(at, &text, PLAIN, readable(color));
            }
        }
        if row % every == 0 {
            let label = row.to_string();
            let at = top + center(cell, 16);
            page.text([left - 8 - measure(&label, PLAIN), at], &label, PLAIN, INK);
            let told = if total == 0 {
                "none".into()
            } else {
                format!("{:5.1} %", 100.0 * share(count(row, row), total))
            };
            page.text([left + grid + 14, at], &told, PLAIN, INK);
        }
    }
    let across = "true class";
    page.text_up([MARGIN, y + grid / 2 + measure(across, STRONG) / 2], across, STRONG, MUTED);

    y += grid + 20;
    let most = if worst > 1 { worst.to_string() } else { String::new() };
    y = ramp(&mut page, y, "right, by recall:", ["0 %", "100 %"], RIGHT);
    if worst > 0 {
        y = ramp(&mut page, y, "wrong, by count: ", ["1", &most], WRONG);
    }
    page.paragraph(y + 4, "recall: the share of a true class that the network names rightly", PLAIN, MUTED);
    page.png()
}

/// The space on each side of a centred object.
fn center(room: usize, width: usize) -> usize {
    room.saturating_sub(width) / 2
}

/// The position of a count between 1 and the largest count, by logarithm.
fn strength(n: u64, worst: u64) -> f64 {
    if worst < 2 { 0.0 } else { (n as f64).ln() / (worst as f64).ln() }
}

/// Black or white text, whichever is easier to read on this colour.
fn readable([r, g, b]: Color) -> Color {
    let luma = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    if luma < 150_000 { WHITE } else { INK }
}

/// The legend of a colour scale, with a label at each end. Returns the y coordinate below it.
fn ramp(page: &mut Page, y: usize, name: &str, ends: [&str; 2], shades: [Color; 2]) -> usize {
    let mut x = MARGIN;
    page.text([x, y], name, PLAIN, INK);
    x += measure(name, PLAIN) + 14;
    page.text([x, y], ends[0], PLAIN, MUTED);
    x = MARGIN + measure(name, PLAIN) + 14 + measure("100 %", PLAIN);
    for i in 0..120 {
        page.fill([x + i, y], [1, 16], mix(shades[0], shades[1], i as f64 / 119.0));
    }
    page.text([x + 128, y], ends[1], PLAIN, MUTED);
    y + 24
}

// --- one image ------------------------------------------------------------------------------------

/// One image with the weights of a first-layer neuron on it, the sums of every layer, and the class probabilities.
pub(super) fn walk_png(walk: &Walk) -> Vec<u8> {
    let [height, width] = walk.size;
    let scale = (224 / height.max(width).max(1)).clamp(1, 16);
    let tile = [width * scale, height * scale];
    let mut page = Page::new(SIDE + 2 * MARGIN);
    let told = format!("{}: it is a {}, the network says {}", walk.title, walk.label, walk.said());
    let mut y = page.title(&told) + 4;
    if let Some(first) = walk.layers.first().filter(|first| first.row.len() == height * width) {
        let row = Weights::Floats(&first.row, first.row.len());
        let share = row.share();
        let most = first.input.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
        let grey = |at: usize| [walk.image[at]; 3];
        let weight = |at: usize| shade(share(0, at));
        let term = |at: usize| shade(share(0, at) * f64::from(first.input[at] / most));
        let tiles: [(String, &dyn Fn(usize) -> Color); 3] = [
            ("the image".into(), &grey),
            (format!("weights of neuron {} in layer 0", first.neuron), &weight),
            ("what it adds and subtracts".into(), &term),
        ];
        let across = SIDE / 3;
        let fits = tile[0] <= across && tile[1] <= SIDE;
        for (i, (name, color)) in tiles.iter().enumerate().filter(|_| fits) {
            let left = MARGIN + i * across;
            page.text([left, y], name, STRONG, INK);
            page.fill([left - 1, y + 23], tile.map(|side| side + 2), RULE);
            for at in 0..height * width {
                page.fill(
                    [left + at % width * scale, y + 24 + at / width * scale],
                    [scale, scale],
                    color(at),
                );
            }
        }
        y += if fits { tile[1] + 48 } else { 0 };
    }
    let told = "Orange adds or is above 0, blue subtracts or is below 0; the stronger, the larger beside its neighbours.";
    y = page.paragraph(y, told, PLAIN, MUTED) + 8;
    for (i, stage) in walk.layers.iter().enumerate() {
        let sums = Weights::Floats(&stage.sums, stage.sums.len());
        let share = sums.share();
        let caption = format!("layer {i}: what its {} sum up", plural(stage.sums.len(), "neuron"));
        y = page.paragraph(y, &caption, STRONG, INK) + 4;
        let side = (SIDE / stage.sums.len().max(1)).clamp(8, 32);
        let across = SIDE / side;
        for at in 0..stage.sums.len().min(64 * across) {
            let place = [MARGIN + at % across * side, y + at / across * side];
            page.fill(place, [side, side], RULE);
            page.fill(place, [side - 1, side - 1], shade(share(0, at)));
        }
        y += stage.sums.len().min(64 * across).div_ceil(across) * side + 20;
    }
    let told = format!("shares of the classes; cross-entropy {:.4} nats", walk.loss);
    y = page.paragraph(y, &told, STRONG, INK) + 4;
    for (class, share) in walk.probabilities.iter().enumerate().take(64) {
        page.text([MARGIN, y], &format!("{class:>3}"), PLAIN, INK);
        let color = if class == walk.label { RIGHT[1] } else { WRONG[1] };
        page.fill([MARGIN + 40, y + 2], [(600.0 * share) as usize + 1, 14], color);
        let told = format!("{:6.2} %  logit {:.4}", 100.0 * share, walk.logits[class]);
        page.text([MARGIN + 660, y], &told, PLAIN, INK);
        y += 20;
    }
    page.png()
}

// --- attention --------------------------------------------------------------------------------------

/// The largest width of the maps of a layer, side by side, in pixels.
const MAPS: usize = 1600;
/// The tokens in a map at most.
const TOKENS: usize = 64;

/// The attention of a text: a row of maps for each layer, a map for each head. Row `i` of a map is a token, and column
/// `j` its share for token `j`. `maps` is `[layers][heads][tokens][tokens seen]`.
pub(super) fn attention_png(title: &str, tokens: &[&str], maps: &[Vec<Vec<Vec<f32>>>]) -> Vec<u8> {
    let (from, n) = (tokens.len().saturating_sub(TOKENS), tokens.len().min(TOKENS));
    let heads = maps.iter().map(Vec::len).max().unwrap_or(0);
    let cell = (MAPS / heads.max(1)).saturating_sub(40) / n.max(1);
    let cell = cell.clamp(2, 16);
    // A character is 8 pixels wide and 16 high, and it needs a cell of its own.
    let [above, beside] = [cell >= 9, cell >= 14];
    let (name, letters) = (96, if beside { 14 } else { 0 });
    let across = n * cell + letters + 18;
    let mut page = Page::new((name + heads * across + 2 * MARGIN).max(760));
    let mut y = page.title(title);
    let whole: String = tokens[from..].concat();
    let part = if from > 0 { format!("the last {n} of {} tokens: ", tokens.len()) } else { String::new() };
    y = page.paragraph(y, &format!("{part}{whole}"), STRONG, INK);
    let told = "A row is the token that looks, first token on top; a column is the token that it looks at, first token at \
                the left. The darker, the larger the share; the shares of a row add up to 1. A token sees itself and those \
                before it. _ is a space, / the end of a line.";
    y = page.paragraph(y + 2, told, PLAIN, MUTED) + 8;
    y = ramp(&mut page, y, "share: ", ["0", "1"], SHARES) + 8;
    for (layer, heads) in maps.iter().enumerate() {
        let top = y + 20 + if above { 18 } else { 0 };
        page.text([MARGIN, top], &format!("layer {layer}"), STRONG, INK);
        for (head, map) in heads.iter().enumerate() {
            let left = MARGIN + name + head * across + letters;
            page.text([left, y], &format!("head {head}"), PLAIN, MUTED);
            page.fill([left - 1, top - 1], [n * cell + 2; 2], RULE);
            page.fill([left, top], [n * cell; 2], WHITE);
            for (i, row) in map[from..].iter().enumerate() {
                for (j, &share) in row[from..].iter().enumerate() {
                    let color = mix(SHARES[0], SHARES[1], f64::from(share));
                    page.fill([left + j * cell, top + i * cell], [cell, cell], color);
                }
            }
            for (i, sign) in tokens[from..].iter().enumerate() {
                if above {
                    page.text([left + i * cell + center(cell, 8), y + 18], sign, PLAIN, INK);
                }
                if beside {
                    page.text([left - 12, top + i * cell], sign, PLAIN, INK);
                }
            }
        }
        y = top + n * cell + 22;
    }
    page.png()
}

/// No share, and the whole.
const SHARES: [Color; 2] = [[0xf1, 0xf4, 0xf7], [0x00, 0x3f, 0x6b]];

// --- contact sheet ---------------------------------------------------------------------------------

/// The largest width and height of a contact sheet in pixels, without titles.
const SHEET: usize = 1600;

/// The images that a network sees: one row for each image, with the original first and its variants after it.
///
/// Images have this height and width, with pixels from 0 (background) to 255. Missing pixels are background.
pub fn contact_sheet_png(title: &str, rows: &[(Vec<u8>, Vec<Vec<u8>>)], image: [usize; 2]) -> Vec<u8> {
    let [height, width] = image.map(|side| side.max(1));
    let scale = (84 / height.max(width)).clamp(1, 6);
    let [high, wide] = [height * scale, width * scale];
    let (gap, bar) = (6, 20);
    let (original, shown) = ("original", "as the network saw it, step by step");
    let left = MARGIN + wide.max(measure(original, STRONG)) + bar;

    let steps = rows.iter().map(|(_, variants)| variants.len()).max().unwrap_or(0);
    let columns = steps.min((SHEET / (wide + gap)).max(1));
    let lines = rows.len().min((SHEET / (high + gap)).max(1));
    let right = left + bar + (columns * (wide + gap)).max(measure(shown, STRONG));
    let mut page = Page::new((right + MARGIN).max(480));

    let mut y = page.title(title);
    let mut parts = Vec::new();
    if lines < rows.len() {
        parts.push(format!("{} images", first(lines, rows.len())));
    }
    if columns < steps {
        parts.push(format!("{} steps", first(columns, steps)));
    }
    if !parts.is_empty() {
        y = page.paragraph(y, &parts.join(", "), PLAIN, MUTED);
    }
    y += 8;
    page.text([MARGIN, y], original, STRONG, MUTED);
    page.text([left + bar, y], shown, STRONG, MUTED);
    y += 24;
    let mut paint = |x: usize, y: usize, pixels: &[u8]| {
        for at in 0..height * width {
            let level = pixels.get(at).copied().unwrap_or(0);
            page.fill([x + at % width * scale, y + at / width * scale], [scale, scale], [level; 3]);
        }
    };
    for (i, (first, variants)) in rows.iter().take(lines).enumerate() {
        let top = y + i * (high + gap);
        paint(MARGIN, top, first);
        for (k, variant) in variants.iter().take(columns).enumerate() {
            paint(left + bar + k * (wide + gap), top, variant);
        }
    }
    if lines > 0 {
        page.fill([left, y], [2, lines * (high + gap) - gap], RULE);
    }
    page.png()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width and height of a picture, and a function for its pixel at x, y.
    fn decode(bytes: &[u8]) -> (usize, usize, impl Fn(usize, usize) -> Color) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("an image");
        assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
        let width = info.width as usize;
        let at = move |x: usize, y: usize| {
            let i = 3 * (y * width + x);
            [pixels[i], pixels[i + 1], pixels[i + 2]]
        };
        (width, info.height as usize, at)
    }

    /// The number of pixels with this colour.
    fn area(bytes: &[u8], color: Color) -> usize {
        let (width, height, at) = decode(bytes);
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).filter(|&(x, y)| at(x, y) == color).count()
    }

    fn wave(rows: usize, cols: usize) -> Packed {
        let w: Vec<f32> = (0..rows * cols).map(|i| (i as f32 * 0.7).sin()).collect();
        Packed::quantize(&w, rows, cols)
    }

    /// [`super::weights_png`] for matrices of trits.
    fn weights_png(title: &str, layers: &[Packed], image: [usize; 2]) -> Vec<u8> {
        super::weights_png(
            title,
            &layers.iter().map(|layer| ("one".into(), Weights::Trits(layer))).collect::<Vec<_>>(),
            image,
        )
    }

    #[test]
    fn floats_are_drawn_as_strongly_as_they_are_large() {
        let bytes = super::weights_png(
            "floats",
            &[("one".into(), Weights::Floats(&[0.5, -0.25, 0.0, 0.5, 0.25, -0.5], 3))],
            [1, 1],
        );
        let swatch = 14 * 14;
        assert_eq!(area(&bytes, PLUS), 2 * 256 + swatch);
        assert_eq!(area(&bytes, MINUS), 256 + swatch);
        assert_eq!(area(&bytes, ZERO), 256 + swatch);
        assert_eq!([area(&bytes, mix(ZERO, MINUS, 0.5)), area(&bytes, mix(ZERO, PLUS, 0.5))], [256, 256]);
    }

    #[test]
    fn every_trit_is_drawn() {
        // No image of 1 x 1 has six pixels. So only the matrix is shown, with 16 pixels per trit.
        let packed = Packed::pack(&[1, -1, 0, 0, 1, 1], 2, 3, 0.5);
        let bytes = weights_png("two by three", std::slice::from_ref(&packed), [1, 1]);
        let swatch = 14 * 14;
        assert_eq!(area(&bytes, PLUS), 3 * 256 + swatch);
        assert_eq!(area(&bytes, MINUS), 256 + swatch);
        assert_eq!(area(&bytes, ZERO), 2 * 256 + swatch);
        // The receptive fields are shown too, with 8 pixels per trit.
        let bytes = weights_png("two by three", &[packed], [1, 3]);
        assert_eq!(area(&bytes, PLUS), 3 * (256 + 64) + swatch);
    }

    #[test]
    fn the_first_trit_lies_at_the_left_below_its_caption() {
        let mut trits = vec![0; 10 * 128];
        trits[0] = 1;
        trits[127] = -1;
        let bytes = weights_png("corners", &[Packed::pack(&trits, 10, 128, 1.0)], [0, 0]);
        let (width, height, at) = decode(&bytes);
        assert_eq!(width, SIDE + 2 * MARGIN);
        let top = (100..height).find(|&y| at(MARGIN, y) == PLUS).expect("the first trit");
        assert_eq!(at(MARGIN + 7, top + 7), PLUS, "eight pixels a trit");
        assert_eq!([at(MARGIN + 8, top), at(MARGIN, top + 8)], [ZERO, ZERO]);
        assert_eq!(at(MARGIN + 1023, top), MINUS);
    }

    #[test]
    fn weights_are_drawn_whatever_their_shape() {
        let cases = [
            (vec![], [28, 28]),
            (vec![wave(1, 1)], [1, 1]),
            (vec![Packed::pack(&[], 0, 0, 1.0)], [0, 0]),
            (vec![wave(3, 120)], [10, 12]),
            (vec![wave(3, 120)], [120, 1]),
            (vec![wave(1, 4000), wave(2000, 1)], [4000, 1]),
            (vec![wave(4, 3); 80], [3, 1]),
        ];
        for (layers, image) in cases {
            let (width, height, _) = decode(&weights_png("any", &layers, image));
            assert_eq!(width, SIDE + 2 * MARGIN);
            assert!((64..16_384).contains(&height), "{height}");
        }
        let large = weights_png("large", &[wave(1024, 784), wave(1024, 1024), wave(10, 1024)], [28, 28]);
        assert!(decode(&large).1 < 4096);
        assert_eq!(
            large,
            weights_png("large", &[wave(1024, 784), wave(1024, 1024), wave(10, 1024)], [28, 28])
        );
    }

    #[test]
    fn what_is_right_and_what_is_wrong_have_their_colors() {
        let bytes = confusion_png("two classes", &[vec![90, 0], vec![7, 0]]);
        let (_, _, at) = decode(&bytes);
        // The grid starts at the first cell with the strongest blue.
        let (width, height, _) = decode(&bytes);
        let mut cells = (0..height).flat_map(|y| (0..width).map(move |x| [x, y]));
        let [x, y] = cells.find(|&[x, y]| at(x, y) == RIGHT[1]).expect("all of class 0 is right");
        let corner = |row: usize, col: usize| at(x + 56 * col, y + 56 * row);
        assert_eq!([corner(0, 0), corner(0, 1)], [RIGHT[1], WHITE]);
        assert_eq!([corner(1, 0), corner(1, 1)], [WRONG[1], RIGHT[0]]);
    }

    #[test]
    fn a_confusion_is_drawn_whatever_the_counts() {
        for classes in [0, 1, 2, 10, 26, 47, 256] {
            for fill in [0, 1, 12_345, u32::MAX] {
                let (width, height, _) = decode(&confusion_png("any", &vec![vec![fill; classes]; classes]));
                assert!(width < 2048 && height < 2048, "{classes} classes: {width} x {height}");
            }
        }
        let (width, ..) = decode(&confusion_png("ragged", &[vec![1], vec![], vec![1, 2, 3, 4]]));
        assert_eq!(width, 760);
    }

    #[test]
    fn an_image_is_drawn_as_it_is() {
        let bytes = contact_sheet_png("one", &[(vec![255, 0, 0, 9], vec![vec![0, 0, 0, 200]; 3])], [2, 2]);
        assert_eq!(area(&bytes, [9; 3]), 36, "six pixels a pixel");
        assert_eq!(area(&bytes, [200; 3]), 3 * 36);
    }

    #[test]
    fn a_contact_sheet_is_drawn_whatever_the_images() {
        type Rows = Vec<(Vec<u8>, Vec<Vec<u8>>)>;
        let cases: [(Rows, [usize; 2]); 5] = [
            (vec![], [28, 28]),
            (vec![(vec![], vec![])], [0, 0]),
            (vec![(vec![7], vec![vec![]; 4])], [10, 12]),
            (vec![(vec![1; 784], vec![vec![2; 784]; 500]); 90], [28, 28]),
            (vec![(vec![1; 784], vec![vec![2; 784]; 2])], [200, 1]),
        ];
        for (rows, image) in cases {
            let (width, height, _) = decode(&contact_sheet_png("any", &rows, image));
            assert!(width < 2048 && height < 2048, "{width} x {height}");
        }
    }

    #[test]
    fn a_long_title_is_broken_and_an_odd_letter_is_drawn() {
        let long = "word ".repeat(100);
        let [short, long] = ["w\u{2019}\u{1f600}", &long].map(|title| decode(&confusion_png(title, &[])).1);
        assert!(long > short + 100, "{long} {short}");
    }
}
