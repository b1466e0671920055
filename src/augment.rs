//! Variation of training images: the ranges of a random affine map in fixed point, and the choice of one map. This
//! module knows no image, no random generator and no GPU.
//!
//! All arithmetic is on integers, so shader and twin agree in every bit. A float product followed by a sum may be
//! fused on one GPU and not on another.

/// The ranges of a random affine map, in units of 1 / 4096. Each range is symmetric around the identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distortion {
    /// Largest angle in radians, at most 0.25.
    pub rotation: i32,
    /// Largest deviation of the scale from 1.
    pub scale: i32,
    /// Largest shear.
    pub shear: i32,
    /// Largest displacement in each direction, in grains.
    pub shift: i32,
    /// Pixels in one grain.
    pub grain: i32,
}

/// 1 in the units of [`Distortion`] and [`Affine`].
pub const ONE: i32 = 1 << 12;

impl Distortion {
    /// One of the nine displacements by at most one whole pixel. All are equally likely.
    pub const SHIFT: Distortion = Distortion { rotation: 0, scale: 0, shear: 0, shift: 1, grain: ONE };

    /// Up to 10 degrees, 10 % of scale, a shear of 0.1 and a displacement of one pixel.
    pub const AFFINE: Distortion = Distortion { rotation: 715, scale: 410, shear: 410, shift: ONE, grain: 1 };

    /// The map for four random words.
    pub fn choose(&self, words: [u32; 4]) -> Affine {
        // Sixteen random bits, multiplied by the number of values. The upper bits of the product are the result.
        let uniform = |bits: u32, most: i32| (((bits & 0xffff) * (2 * most + 1) as u32) >> 16) as i32 - most;
        let angle = uniform(words[0], self.rotation);
        let scale = ONE + uniform(words[0] >> 16, self.scale);
        let shear = uniform(words[1], self.shear);
        let x = self.grain * uniform(words[2], self.shift);
        let y = self.grain * uniform(words[2] >> 16, self.shift);
        // cos = 1 - angle^2 / 2 and sin = angle - angle^3 / 6. The rest of the series is below 1.7e-4.
        let square = (angle * angle) >> 12;
        let cos = ONE - (square >> 1);
        let sin = angle - ((((angle * square) >> 12) * 683) >> 12);
        Affine {
            xx: (scale * cos) >> 12,
            xy: (scale * (((cos * shear) >> 12) - sin)) >> 12,
            yx: (scale * sin) >> 12,
            yy: (scale * (((sin * shear) >> 12) + cos)) >> 12,
            x,
            y,
        }
    }
}

/// `source = [xx xy; yx yy] (destination - centre) + centre + [x y]`: rotation times shear times scale, and a
/// displacement in pixels. All are in units of 1 / 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are those of the equation above
pub struct Affine {
    pub xx: i32,
    pub xy: i32,
    pub yx: i32,
    pub yy: i32,
    pub x: i32,
    pub y: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{self, Stream};

    fn draw(by: Distortion, seed: u64, step: u32, row: u32) -> Affine {
        by.choose(random::draw(seed, Stream::Augment, step, row))
    }

    /// Smallest, mean and largest of one coefficient over 10,000 draws.
    fn extent(by: Distortion, what: impl Fn(Affine) -> i32) -> (i32, f64, i32) {
        let all: Vec<i32> = (0..10_000).map(|i| what(draw(by, 3, i / 100, i % 100))).collect();
        let mean = all.iter().map(|&x| f64::from(x)).sum::<f64>() / all.len() as f64;
        (*all.iter().min().expect("some"), mean, *all.iter().max().expect("some"))
    }

    #[test]
    fn no_range_is_the_identity() {
        let none = Distortion { rotation: 0, scale: 0, shear: 0, shift: 0, grain: 1 };
        assert_eq!(draw(none, 1, 2, 3), Affine { xx: ONE, xy: 0, yx: 0, yy: ONE, x: 0, y: 0 });
    }

    #[test]
    fn shifts_are_the_nine_whole_displacements_equally_often() {
        let mut counts = [0f64; 9];
        for i in 0..9000 {
            let Affine { xx, xy, yx, yy, x, y } = draw(Distortion::SHIFT, 0, i, 7);
            assert_eq!([xx, xy, yx, yy, x % ONE, y % ONE], [ONE, 0, 0, ONE, 0, 0]);
            counts[(3 * (x / ONE + 1) + y / ONE + 1) as usize] += 1.0;
        }
        // Five standard errors of a count: sqrt(9000 * 1/9 * 8/9) = 29.8.
        assert!(counts.iter().all(|count| (count - 1000.0).abs() < 149.0), "{counts:?}");
    }

    #[test]
    fn ranges_are_filled_evenly_and_not_exceeded() {
        let by = Distortion::AFFINE;
        // A uniform variable within +-r has the standard deviation r / sqrt(3). The limit is five standard errors of
        // 10,000 draws.
        let centred = |mean: f64, most: i32| mean.abs() < 5.0 * f64::from(most) / 3f64.sqrt() / 100.0;
        for of in [|a: Affine| a.x, |a: Affine| a.y] {
            let (low, mean, high) = extent(by, of);
            assert!((-ONE..=-ONE + 8).contains(&low) && (ONE - 8..=ONE).contains(&high), "{low} {high}");
            assert!(centred(mean, ONE), "{mean}");
        }
        let only = |rotation, scale, shear| Distortion { rotation, scale, shear, shift: 0, grain: 1 };
        // 4096 sin(715 / 4096) = 711.4.
        let (low, mean, high) = extent(only(by.rotation, 0, 0), |a| a.yx);
        assert!(
            (-713..=-708).contains(&low) && (708..=713).contains(&high) && centred(mean, 712),
            "{low} {mean}"
        );
        let (low, mean, high) = extent(only(0, by.scale, 0), |a| a.xx - ONE);
        assert!(
            (-410..=-408).contains(&low) && (408..=410).contains(&high) && centred(mean, 410),
            "{low} {mean}"
        );
        let (low, mean, high) = extent(only(0, 0, by.shear), |a| a.xy);
        assert!(
            (-410..=-408).contains(&low) && (408..=410).contains(&high) && centred(mean, 410),
            "{low} {mean}"
        );
    }

    #[test]
    fn a_rotation_turns_by_its_angle() {
        for row in 0..1000 {
            let a = draw(Distortion { shear: 0, scale: 0, ..Distortion::AFFINE }, 5, 0, row);
            let angle = f64::from(a.yx).atan2(f64::from(a.yy));
            let unit = f64::from(ONE);
            // Three truncations of 1 / 4096 and the tail of the series.
            assert!((f64::from(a.xx) / unit - angle.cos()).abs() < 4.0 / unit, "{a:?}");
            assert!((f64::from(a.yx) / unit - angle.sin()).abs() < 4.0 / unit, "{a:?}");
            assert!((a.xy + a.yx).abs() <= 1 && a.xx == a.yy, "{a:?}");
        }
    }
}
