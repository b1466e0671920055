//! Turns a picture of one digit, a photo or a drawing, into an image in the style of MNIST. Bytes go in and 28 x 28
//! pixels come out. This module knows no network.
//!
//! The steps:
//! - the picture becomes grey. Transparent parts get a black or a white background, whichever differs more from the
//!   drawing. The picture is turned by the camera's orientation. A frame of one colour is cut off. Squares of pixels
//!   are averaged until the longer side is less than twice 224;
//! - the background is a plane of grey, because light is uneven. It fits most of the border. Ink is a pixel whose
//!   distance from the plane exceeds that of nine tenths of the border. Ink is either lighter or darker than the
//!   background: the side with the larger distances. Dark ink on a light background is inverted;
//! - the bounding box of the ink is scaled to 20 pixels on its longer side. Each new pixel is the mean of the area
//!   that it covers;
//! - the ink's centre of mass is moved to the centre of 28 x 28 pixels, by whole pixels.
//!
//! (The last two steps are those of MNIST: Y. LeCun and others, Gradient-based learning applied to document
//! recognition, 1998.)

use std::cell::Cell;
use std::error::Error;
use std::io::{self, BufRead, Cursor, Read, Seek, SeekFrom};

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::content;

/// Pixels on each side of the result.
pub const SIDE: usize = 28;

/// Pixels on the longer side of the digit.
const BOX: usize = 20;

/// The largest number of pixels of a picture. Cameras have up to 50 million.
const MOST_PIXELS: u64 = 1 << 26;

/// A file may have `ALWAYS` pixels, and `PIXELS_PER_BYTE` more for each of its bytes. Deflate reaches 1,032 pixels of
/// 8 bits per byte. A nearly white picture with one bit per pixel may exceed the limit and must be cropped.
const ALWAYS: u64 = 1 << 20;
const PIXELS_PER_BYTE: u64 = 1 << 10;

/// The largest number of bytes per pixel during processing: 8 after decoding, and 8 for the decoder and the results.
const BYTES_PER_PIXEL: u64 = 16;

/// The largest number of pixels for a file with this many bytes.
fn most_pixels(bytes: usize) -> u64 {
    MOST_PIXELS.min(ALWAYS + PIXELS_PER_BYTE * bytes as u64)
}

/// The largest number of bytes of memory that [`decode`] and [`prepare`] use for a file with this many bytes, without
/// the file: 16 MiB, and 16 KiB for each byte of the file, but never more than 1 GiB.
pub fn most_memory(bytes: usize) -> usize {
    (BYTES_PER_PIXEL * most_pixels(bytes)) as usize
}

/// A picture is reduced to about this many pixels on its longer side.
const ENOUGH: usize = 224;

/// Ink below this share of the strongest ink does not count for the bounding box.
const FAINT: f32 = 0.1;

/// A grey picture, from 0 (black) to 255 (white).
#[derive(Clone, Debug, PartialEq)]
pub struct Grey {
    /// Number of pixels in a row.
    pub width: usize,
    /// Number of rows.
    pub height: usize,
    /// The pixels, `[height, width]`.
    pub pixels: Vec<f32>,
}

/// Decodes a PNG, JPEG or BMP.
///
/// # Errors
/// A text with the fault of the file. If the size would need more than [`most_memory`], the file is refused before
/// any memory is allocated.
pub fn decode(bytes: &[u8]) -> Result<Grey, String> {
    let (name, format) = match content::kind(bytes) {
        Some(content::PNG) => ("PNG", ImageFormat::Png),
        Some(content::JPEG) => ("JPEG", ImageFormat::Jpeg),
        Some(content::BMP) => ("BMP", ImageFormat::Bmp),
        _ if bytes.is_empty() => return Err("has 0 bytes, expected 1 or more of a PNG, JPEG or BMP".into()),
        _ => {
            let first: Vec<String> = bytes.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            let unknown =
                || format!("starts with the bytes {}, expected a PNG, JPEG or BMP", first.join(" "));
            return Err(content::refusal(bytes, "a PNG, JPEG or BMP").unwrap_or_else(unknown));
        }
    };
    if format == ImageFormat::Jpeg {
        whole_jpeg(bytes)?;
    }
    let place = Cell::new(0);
    let broken = |error: ImageError| {
        let reason = match &error {
            ImageError::Decoding(error) => error.source().map(ToString::to_string),
            ImageError::IoError(error) => Some(error.to_string()),
            _ => None,
        };
        let reason = reason.unwrap_or_else(|| error.to_string());
        let reason = reason.lines().next().unwrap_or_default().trim_end_matches('.');
        format!(
            "is no intact {name}: its decoder stops at byte {} of {} ({reason})",
            place.get(),
            bytes.len()
        )
    };
    let source = Placed { bytes: Cursor::new(bytes), place: &place };
    let mut reader = ImageReader::with_format(source, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(most_memory(bytes.len()) as u64);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(broken)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let most = most_pixels(bytes.len());
    if pixels == 0 || pixels > most {
        return Err(format!(
            "claims {width} x {height} = {pixels} pixels in {} bytes, expected 1 to {most}, which are {ALWAYS} and \
             {PIXELS_PER_BYTE} for each byte, but no more than {MOST_PIXELS}: cut it to the digit",
            bytes.len()
        ));
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(broken)?;
    // Turning makes a copy, so it happens after the conversion to grey, which takes less memory.
    let mut picture = DynamicImage::from(picture.into_luma_alpha8());
    picture.apply_orientation(orientation);
    let pairs = picture.into_luma_alpha8();
    let (width, height) = (pairs.width() as usize, pairs.height() as usize);
    // Some programs leave the fourth byte of a BMP's pixels at 0. Viewers then ignore it.
    let unused = format == ImageFormat::Bmp && pairs.pixels().all(|pixel| pixel.0[1] == 0);
    let cover = |alpha: u8| if unused { 1.0 } else { f32::from(alpha) / 255.0 };
    let opaque = |[grey, alpha]: [u8; 2]| f32::from(grey) * cover(alpha);
    let (ink, covered) = pairs.pixels().fold((0.0f64, 0.0f64), |(ink, covered), pixel| {
        (ink + f64::from(opaque(pixel.0)), covered + f64::from(cover(pixel.0[1])))
    });
    // A light drawing with transparency gets a black background.
    let paper = if ink > 127.5 * covered { 0.0 } else { 255.0 };
    let over = |pair: [u8; 2]| opaque(pair) + paper * (1.0 - cover(pair[1]));
    let pixels = pairs.pixels().map(|pixel| over(pixel.0)).collect();
    Ok(Grey { width, height, pixels })
}

/// A reader of bytes that notes the furthest position read.
struct Placed<'a> {
    bytes: Cursor<&'a [u8]>,
    place: &'a Cell<u64>,
}

impl Placed<'_> {
    fn note<T>(&self, result: T) -> T {
        let at = self.bytes.position().min(self.bytes.get_ref().len() as u64);
        self.place.set(self.place.get().max(at));
        result
    }
}

impl Read for Placed<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(into);
        self.note(read)
    }
}

impl BufRead for Placed<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.bytes.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes.consume(bytes);
        self.note(());
    }
}

impl Seek for Placed<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// Checks that a JPEG is complete. The decoder would fill the missing part of a truncated file with grey. (ITU-T
/// T.81, annex B.)
fn whole_jpeg(bytes: &[u8]) -> Result<(), String> {
    let mut at = 2;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= 2) {
        at += match rest {
            // The end marker; or bytes of the scan: plain ones, a stuffed zero, or a restart marker; or a segment
            // with its length.
            [0xff, 0xd9, ..] => return Ok(()),
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8, ..] => 2,
            [0xff, 0xff, ..] => 1,
            [0xff, _, high, low, ..] => 2 + usize::from(u16::from_be_bytes([*high, *low])),
            [0xff, _, ..] => break,
            _ => 1,
        };
    }
    Err(format!(
        "is no intact JPEG: its {} bytes are cut before the marker of its end, ff d9, which is to come from byte {at} on",
        bytes.len()
    ))
}

/// The digit in a picture as `[28, 28]`, light on black.
///
/// # Errors
/// If the whole picture is background.
pub fn prepare(picture: &Grey) -> Result<Vec<u8>, String> {
    // A rectangle that looks like a frame may be the digit itself: a 0.
    match unframed(picture).map(|inside| placed(&inside)) {
        Some(Ok(digit)) => Ok(digit),
        _ => placed(picture),
    }
}

/// [`prepare`] of a picture without a frame.
fn placed(picture: &Grey) -> Result<Vec<u8>, String> {
    let picture = &shrunk(picture);
    let ink = ink(picture)?;
    let (width, height) = (picture.width, picture.height);
    let inked = |x: usize, y: usize| ink[y * width + x] >= FAINT;
    let rows = ends(height, |y| (0..width).any(|x| inked(x, y)));
    let cols = ends(width, |x| (0..height).any(|y| inked(x, y)));
    let long = rows.len().max(cols.len());
    let scaled = |side: usize| ((side * BOX + long / 2) / long).max(1);
    let (high, wide) = (scaled(rows.len()), scaled(cols.len()));
    let across = spans(cols.start, cols.len(), wide);
    let down = spans(rows.start, rows.len(), high);
    let mean = |(y, x): (&Span, &Span)| {
        let line = |(row, part): &(usize, f32)| {
            part * x.iter().map(|(col, part)| part * ink[row * width + col]).sum::<f32>()
        };
        y.iter().map(line).sum::<f32>()
    };
    let digit: Vec<f32> = down.iter().flat_map(|y| across.iter().map(move |x| (y, x))).map(mean).collect();

    let mass: f32 = digit.iter().sum();
    let centre = |at: &dyn Fn(usize) -> usize| {
        digit.iter().enumerate().map(|(i, v)| v * (at(i) as f32 + 0.5)).sum::<f32>() / mass
    };
    let place = |centre: f32, side: usize| {
        let corner = (SIDE as f32 / 2.0 - centre).round();
        corner.clamp(0.0, (SIDE - side) as f32) as usize
    };
    let (left, top) = (place(centre(&|i| i % wide), wide), place(centre(&|i| i / wide), high));
    let peak = digit.iter().copied().fold(0.0, f32::max);
    let mut out = vec![0; SIDE * SIDE];
    for (i, value) in digit.iter().enumerate() {
        out[(top + i / wide) * SIDE + left + i % wide] = (255.0 * value / peak).round() as u8;
    }
    Ok(out)
}

/// The inside of a frame, such as the outline of a canvas. It is `None` without a frame. A frame consists of rings of
/// one grey on all sides, followed by another grey on all sides. A digit that touches the border covers a smaller
/// part of each ring.
fn unframed(picture: &Grey) -> Option<Grey> {
    /// The largest difference of greys that count as equal, and the share of a ring that must be equal.
    const NEAR: f32 = 24.0;
    const MOST: f32 = 0.9;
    /// The largest number of rings of a frame, and the number of pixels of a ring that are examined.
    const RINGS: usize = 64;
    const SEEN: usize = 4096;
    /// The number of rings over which a frame ends. Fading light needs more rings.
    const SHARP: usize = 3;
    let Grey { width, height, pixels } = picture;
    // The grey of the ring at this distance from the border.
    let ring = |inside: usize| {
        let [right, bottom] = [width, height].map(|side| side - 1 - inside);
        let across = (inside..=right).flat_map(|x| [[x, inside], [x, bottom]]);
        let down = (inside..=bottom).flat_map(|y| [[inside, y], [right, y]]);
        let step = (2 * (width + height) / SEEN).max(1);
        let seen = across.step_by(step).chain(down.step_by(step));
        let greys: Vec<f32> = seen.map(|[x, y]| pixels[y * width + x]).collect();
        let grey = quantile(greys.iter().copied(), 0.5);
        let near = greys.iter().filter(|other| (*other - grey).abs() <= NEAR).count();
        (near as f32 >= MOST * greys.len() as f32).then_some(grey)
    };
    let most = ((*width).min(*height) / 8).min(RINGS);
    if most == 0 {
        return None;
    }
    let outer = ring(0)?;
    let rings: Vec<Option<f32>> = (0..=most).map(ring).collect();
    let far = |grey: &f32| (grey - outer).abs() > NEAR;
    let first = (1..=most).find(|&inside| rings[inside].as_ref().is_some_and(far))?;
    rings[first.saturating_sub(SHARP)].filter(|grey| (grey - outer).abs() <= NEAR / 2.0)?;
    // The first ring that is like the previous one. A ring between two greys is a mixture.
    let alike = |&inside: &usize| Some((rings[inside]? - rings[inside - 1]?).abs() <= NEAR);
    let cut =
        (first + 1..=most).find(|inside| alike(inside) == Some(true)).map_or(first, |inside| inside - 1);
    let (wide, high) = (width - 2 * cut, height - 2 * cut);
    let row = |y: usize| pixels[(y + cut) * width + cut..][..wide].iter().copied();
    let inside = Grey { width: wide, height: high, pixels: (0..high).flat_map(row).collect() };
    // The frame may have a margin around it.
    Some(unframed(&inside).unwrap_or(inside))
}

/// The means of squares of pixels. If the picture is narrower than a square, the means are over lines. Remaining
/// pixels at the right and at the bottom are dropped.
fn shrunk(picture: &Grey) -> Grey {
    let by = (picture.width.max(picture.height) / ENOUGH).max(1);
    let [across, down] = [picture.width, picture.height].map(|side| by.min(side));
    let (width, height) = (picture.width / across, picture.height / down);
    let mean = |i: usize| {
        let corner = i / width * down * picture.width + i % width * across;
        let line = |row: usize| picture.pixels[corner + row * picture.width..][..across].iter();
        // A sum over so many pixels is not exact enough in f32.
        let sum: f64 = (0..down).flat_map(line).map(|&pixel| f64::from(pixel)).sum();
        (sum / (across * down) as f64) as f32
    };
    Grey { width, height, pixels: (0..width * height).map(mean).collect() }
}

/// The ink of each pixel, from 0 to 1, by its distance from the background.
fn ink(picture: &Grey) -> Result<Vec<f32>, String> {
    let Grey { width, height, pixels } = picture;
    let place = |i: usize| {
        let across = |at: usize, side: usize| (2 * at + 1) as f32 / side as f32 - 1.0;
        [across(i % width, *width), across(i / width, *height)]
    };
    let on_border =
        |i: &usize| [0, width - 1].contains(&(i % width)) || [0, height - 1].contains(&(i / width));
    let border: Vec<usize> = (0..pixels.len()).filter(on_border).collect();
    let mut level = quantile(border.iter().map(|&i| pixels[i]), 0.5);
    let paper = level;
    let mut slope = [0.0; 2];
    let far = |level: f32, slope: [f32; 2], i: usize| {
        let [x, y] = place(i);
        pixels[i] - level - slope[0] * x - slope[1] * y
    };
    for _ in 0..20 {
        let spread = quantile(border.iter().map(|&i| far(level, slope, i).abs()), 0.5);
        // A digit may touch the border. Pixels far from the plane do not influence it.
        let near = |&i: &usize| far(level, slope, i).abs() <= 1.0 + 3.0 * spread;
        let kept: Vec<(f32, [f32; 2])> =
            border.iter().copied().filter(near).map(|i| (far(level, slope, i), place(i))).collect();
        level += kept.iter().map(|(far, _)| far).sum::<f32>() / kept.len() as f32;
        for axis in [0, 1] {
            let along: f32 = kept.iter().map(|(far, at)| far * at[axis]).sum();
            let length: f32 = kept.iter().map(|(_, at)| at[axis] * at[axis]).sum();
            slope[axis] += if length > 0.0 { along / length } else { 0.0 };
        }
    }
    let far: Vec<f32> = (0..pixels.len()).map(|i| far(level, slope, i)).collect();
    let [above, below] = [1.0, -1.0].map(|sign| far.iter().map(|far| sign * far).fold(0.0, f32::max));
    let (sign, peak) = if below > above { (-1.0, below) } else { (1.0, above) };
    // At most a third of the ink counts as noise, because a digit may touch the border here too.
    let floor = quantile(border.iter().map(|&i| far[i].abs()), 0.9).min(peak / 3.0);
    if peak - floor < 1.0 {
        return Err(format!(
            "shows no digit: none of its {width} x {height} pixels stands out from the border's grey {paper}"
        ));
    }
    Ok(far.into_iter().map(|far| ((sign * far - floor) / (peak - floor)).max(0.0)).collect())
}

/// The value below which this share of values lies.
fn quantile(values: impl Iterator<Item = f32>, share: f32) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values[((values.len() - 1) as f32 * share) as usize]
}

/// The range from the first to the last position with ink. At least one position must have ink.
fn ends(side: usize, inked: impl Fn(usize) -> bool) -> std::ops::Range<usize> {
    let first = (0..side).find(|&at| inked(at)).unwrap_or(0);
    let last = (0..side).rev().find(|&at| inked(at)).unwrap_or(side - 1);
    first..last + 1
}

/// The source pixels under one pixel of the result, each with its share.
type Span = Vec<(usize, f32)>;

/// The spans of `into` result pixels, over `side` source pixels from `start` on.
fn spans(start: usize, side: usize, into: usize) -> Vec<Span> {
    let each = side as f32 / into as f32;
    let span = |i: usize| {
        let (from, to) = (i as f32 * each, (i + 1) as f32 * each);
        let share = |at: usize| ((to.min(at as f32 + 1.0) - from.max(at as f32)) / each).max(0.0);
        (from as usize..(to.ceil() as usize).min(side)).map(|at| (start + at, share(at))).collect()
    };
    (0..into).map(span).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, pixel: impl Fn(usize, usize) -> f32) -> Grey {
        let pixels = (0..width * height).map(|i| pixel(i % width, i / width)).collect();
        Grey { width, height, pixels }
    }

    #[test]
    fn a_bar_is_scaled_to_twenty_pixels_and_centred() {
        // 50 x 200 black pixels in a corner of a light grey sheet give 5 x 20 pixels in the middle.
        let sheet =
            picture(
                500,
                300,
                |x, y| if (400..450).contains(&x) && (8..208).contains(&y) { 10.0 } else { 240.0 },
            );
        let digit = prepare(&sheet).expect("a bar");
        for (i, &value) in digit.iter().enumerate() {
            let (x, y) = (i % SIDE, i / SIDE);
            // 5 pixels around the middle, by whole pixels, are pixels 12 to 16.
            let inside = (12..17).contains(&x) && (4..24).contains(&y);
            assert_eq!(value, if inside { 255 } else { 0 }, "{x}, {y}");
        }
    }

    #[test]
    fn light_on_dark_and_dark_on_light_are_one() {
        let dark = picture(60, 40, |x, y| {
            if (x / 7 + y / 5) % 3 == 0 && x > 8 && y > 4 && x < 50 && y < 35 { 255.0 } else { 0.0 }
        });
        let light = picture(60, 40, |x, y| 255.0 - dark.pixels[y * 60 + x]);
        assert_eq!(prepare(&dark), prepare(&light));
    }

    #[test]
    fn noise_of_the_background_is_no_ink() {
        let noise = |x: usize, y: usize| ((x * 7919 + y * 104_729) % 13) as f32;
        let clean =
            picture(
                100,
                100,
                |x, y| if (40..60).contains(&x) && (30..70).contains(&y) { 20.0 } else { 200.0 },
            );
        let noisy = picture(100, 100, |x, y| clean.pixels[y * 100 + x] - noise(x, y));
        let [clean, noisy] = [clean, noisy].map(|picture| prepare(&picture).expect("a bar"));
        let far = clean.iter().zip(&noisy).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(far < Some(32), "{far:?}");
    }

    #[test]
    fn light_may_fall_unevenly() {
        // The far corner of the paper is darker than half of the ink.
        let shade = |x: usize, y: usize| 1.0 - x as f32 / 1600.0 - y as f32 / 1200.0;
        let bar = |x: usize, y: usize| (500..540).contains(&x) && (300..460).contains(&y);
        let photo = picture(800, 600, |x, y| shade(x, y) * if bar(x, y) { 60.0 } else { 220.0 });
        let digit = prepare(&photo).expect("a bar");
        // The result is a quarter as wide as high, without any of the shade.
        let rows: Vec<&[u8]> =
            digit.chunks(SIDE).filter(|row| row.iter().any(|&value| value > 150)).collect();
        assert!((19..=20).contains(&rows.len()), "{}", rows.len());
        assert!(rows.iter().all(|row| (4..=6).contains(&row.iter().filter(|&&value| value > 50).count())));
        assert!(digit.iter().enumerate().all(|(i, &value)| value < 26 || (10..18).contains(&(i % SIDE))));
    }

    #[test]
    fn a_digit_may_touch_the_border() {
        let sheet = picture(40, 60, |x, y| if x < 12 && y > 20 { 30.0 } else { 230.0 });
        let digit = prepare(&sheet).expect("a bar");
        assert_eq!(digit.iter().filter(|&&value| value > 250).count(), 20 * 6);
    }

    #[test]
    fn a_frame_is_no_background() {
        let bar =
            |x: usize, y: usize| if (40..60).contains(&x) && (30..70).contains(&y) { 20.0 } else { 240.0 };
        let plain = prepare(&picture(100, 100, bar)).expect("a bar");
        let outer = |x: usize, y: usize| x.min(y).min(99 - x).min(99 - y);
        // Frames: thin, thick, grey, light on a dark page, with a margin outside, and with a soft edge.
        let frames: [&dyn Fn(usize) -> Option<f32>; 6] = [
            &|at| (at < 1).then_some(0.0),
            &|at| (at < 10).then_some(60.0),
            &|at| (at < 2).then_some(150.0),
            &|at| (at < 3).then_some(255.0),
            &|at| (3..5).contains(&at).then_some(0.0),
            &|at| (at < 3).then(|| [0.0, 80.0, 160.0][at]),
        ];
        for (i, frame) in frames.into_iter().enumerate() {
            let page = |x, y| if i == 3 { 260.0 - bar(x, y) } else { bar(x, y) };
            let framed = picture(100, 100, |x, y| frame(outer(x, y)).unwrap_or(page(x, y)));
            let digit = prepare(&framed).expect("a bar");
            let far = plain.iter().zip(&digit).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(far < Some(16), "frame {i}: {far:?}");
        }
        // A rectangle alone is a 0, even though it looks like a frame.
        let zero = picture(40, 60, |x, y| {
            let at = x.min(y).min(39 - x).min(59 - y);
            if (2..4).contains(&at) { 0.0 } else { 255.0 }
        });
        let digit = prepare(&zero).expect("a rectangle");
        assert!(digit[14 * SIDE + 14] == 0 && digit.iter().any(|&value| value > 200));
        // Light that fades to all sides is no frame. A digit that fills its picture is no frame either.
        let lamp = picture(200, 200, |x, y| 60.0 + x.min(y).min(199 - x).min(199 - y) as f32);
        assert_eq!(unframed(&lamp), None);
        let filled = picture(60, 100, |x, _| if (5..55).contains(&x) { 0.0 } else { 255.0 });
        assert_eq!(unframed(&filled), None);
    }

    #[test]
    fn an_empty_sheet_is_refused() {
        let sentence = prepare(&picture(5, 4, |_, _| 255.0)).expect_err("no digit");
        assert!(sentence.contains("5 x 4") && sentence.contains("255"), "{sentence}");
    }

    #[test]
    fn every_size_of_picture_has_a_digit() {
        let small = [(1, 2), (2, 1), (1, 3), (3, 3), (28, 28), (1000, 3), (3, 1000)];
        let long = [(2_000_000, 1), (1, 2_000_000), (600_000, 5), (5, 600_000)];
        for (width, height) in small.into_iter().chain(long) {
            let near = |at: usize, side: usize| at.abs_diff(side / 2) <= side / 32;
            let dot = |x, y| if near(x, width) && near(y, height) { 0.0 } else { 255.0 };
            let start = std::time::Instant::now();
            let digit = prepare(&picture(width, height, dot));
            assert!(start.elapsed().as_secs_f64() < 1.0, "{width} x {height}: {:?}", start.elapsed());
            assert_eq!(digit.map(|digit| digit.contains(&255)), Ok(true), "{width} x {height}");
        }
    }
}
