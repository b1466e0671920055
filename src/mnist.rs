//! Labelled images on the CPU: the type of a data set, a reader for the four IDX files in which MNIST and similar
//! sets are published, and MNIST itself, which the program contains.
//!
//! Boundary: bytes in, bytes out. Pixels and labels stay the `u8` of the file; scaling, shuffling
//! and batching belong to whoever trains. Nothing here knows of a GPU or of networks.
//! [`Dataset`] exists in every build; reading files and the digits need the feature `mnist`.
//!
//! An IDX file is a big-endian header and then plain bytes. The header is a magic number and the sizes as `u32`. The
//! magic number is `0x803` for images and `0x801` for labels: it means unsigned bytes with three sizes, or with one.

use std::io;
use std::path::{Path, PathBuf};

use crate::reason::unread;

/// The training half or the test half of a data set: images and their classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Pixels `[count, height * width]`, row-major, 0 (background) to 255.
    pub images: Vec<u8>,
    /// Classes `[count]`, each below [`Dataset::classes`].
    pub labels: Vec<u8>,
}

impl Split {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no images. A split from files always has images.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// Images of one size in numbered classes, with a half for training and a half for testing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// The name of the set in reports, for example `mnist` or `emnist-letters`.
    pub name: String,
    /// Rows of pixels in an image.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Number of classes: the largest training label plus one.
    pub classes: usize,
    /// Whether every image is transposed relative to the files. EMNIST needs this to be upright.
    pub transposed: bool,
    /// The half for training.
    pub train: Split,
    /// The half for testing.
    pub test: Split,
}

impl Dataset {
    /// Number of pixels of one image, `height * width`.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// The set with every image transposed.
    pub fn turned(self) -> Dataset {
        let Dataset { height, width, .. } = self;
        let turned = |split: Split| {
            let images = split.images.chunks_exact(height * width);
            let turn = |image: &[u8]| -> Vec<u8> {
                (0..image.len()).map(|at| image[at % height * width + at / height]).collect()
            };
            Split { images: images.flat_map(turn).collect(), labels: split.labels }
        };
        let (train, test) = (turned(self.train), turned(self.test));
        Dataset { height: width, width: height, transposed: !self.transposed, train, test, ..self }
    }

    /// CRC-32 of all pixels and labels. It shows whether two sets are the same.
    #[cfg(feature = "mnist")]
    pub fn fingerprint(&self) -> u32 {
        let mut crc = flate2::Crc::new();
        for split in [&self.train, &self.test] {
            crc.update(&split.images);
            crc.update(&split.labels);
        }
        crc.sum()
    }
}

/// Why there is no folder of this name.
fn no_folder(dir: &Path, reason: &io::Error) -> String {
    match dir.is_file() {
        true => "a file; give the folder that it lies in".into(),
        false => unread(reason),
    }
}

/// The reason why a folder is no data set. Each message is one sentence that names the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the fields are what the sentences name
pub enum DataError {
    /// The folder is missing, is not a folder, or cannot be listed.
    #[error("{}: expected a folder that holds four IDX files, found: {}", dir.display(), no_folder(dir, reason))]
    NotAFolder { dir: PathBuf, reason: io::Error },

    /// Some of the four files are missing.
    #[error(
        "{}: expected the four IDX files of a data set, found {} of them; no {} (each may also end \
         in `.gz`, be spelled `.idx` for `-idx`, and `test-` for `t10k-`); {}",
        dir.display(), 4 - missing.len(), missing.join(", no "), there(others)
    )]
    Missing { dir: PathBuf, missing: Vec<String>, others: Vec<PathBuf> },

    /// The files are in sub-folders.
    #[error("{}: holds no data set itself; {} does: use that folder", dir.display(), paths(below, " or "))]
    Below { dir: PathBuf, below: Vec<PathBuf> },

    /// The file names in the folder have more than one prefix.
    #[error(
        "{}: expected the four IDX files of one data set, found files of {} ({}); put the four files \
         of one of them into a folder of its own",
        dir.display(), sets.len(), sets.join(", ")
    )]
    SeveralSets { dir: PathBuf, sets: Vec<String> },

    /// Two files are the same part of one set.
    #[error(
        "{}: expected one file for each part of the data set, found both {} and {}; keep \
         one of them",
        dir.display(), first.display(), second.display()
    )]
    Twice { dir: PathBuf, first: PathBuf, second: PathBuf },

    /// The operating system would not give us the file's bytes.
    #[error("{}: expected a readable file, found: {}", file.display(), unread(reason))]
    Unreadable { file: PathBuf, reason: io::Error },

    /// The file begins like gzip, but it cannot be unpacked.
    #[error("{}: expected an intact gzip file, found: {reason}; get the file again", file.display())]
    CorruptGzip { file: PathBuf, reason: io::Error },

    /// The file ends before its header or before the last value that the header promises.
    #[error(
        "{}: truncated: expected at least {expected} bytes (unpacked, header included), found {found}; get \
         the file again",
        file.display()
    )]
    Truncated { file: PathBuf, expected: u128, found: u128 },

    /// The file continues after the last value that the header promises.
    #[error(
        "{}: trailing bytes: expected {expected} bytes (unpacked, header included), found {found}",
        file.display()
    )]
    TrailingBytes { file: PathBuf, expected: u128, found: u128 },

    /// The file has another known format.
    #[error("{}: {what}", file.display())]
    Other { file: PathBuf, what: String },

    /// The file is not IDX, or its kind of IDX does not fit its name.
    #[error(
        "{}: wrong magic number: expected {expected:#010x} ({what}), found {found:#010x}",
        file.display()
    )]
    WrongMagic { file: PathBuf, what: &'static str, expected: u32, found: u32 },

    /// The file contains no images, no labels, or images without pixels.
    #[error(
        "{}: empty: expected sizes ({what}) of at least 1, found {}",
        file.display(), by(sizes)
    )]
    Empty { file: PathBuf, what: &'static str, sizes: Vec<u32> },

    /// The number of labels differs from the number of images.
    #[error(
        "{}: expected {images} labels, one for each image of {}, found {labels}",
        file.display(), images_file.display()
    )]
    CountsDiffer { file: PathBuf, images_file: PathBuf, labels: usize, images: usize },

    /// Training and test images have different sizes.
    #[error(
        "{}: expected images of {} pixels (height x width) as in {}, found {}",
        file.display(), by(expected), train_file.display(), by(found)
    )]
    SizesDiffer { file: PathBuf, train_file: PathBuf, expected: [usize; 2], found: [usize; 2] },

    /// Every training label is 0, so there is only one class.
    #[error("{}: expected labels of at least two classes, found only the label 0", file.display())]
    OneClass { file: PathBuf },

    /// A test image has a class without training images.
    #[error(
        "{}: label out of range: expected labels below {classes} (the training labels end at {}), \
         found {label} at index {index}",
        file.display(), classes - 1
    )]
    LabelOutOfRange { file: PathBuf, classes: usize, index: usize, label: u8 },
}

/// Sizes as text: `28 x 28`.
fn by<T: ToString>(sizes: &[T]) -> String {
    let sizes: Vec<String> = sizes.iter().map(T::to_string).collect();
    sizes.join(" x ")
}

fn paths(paths: &[PathBuf], between: &str) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    shown.join(between)
}

/// A text about the other files in a folder.
fn there(others: &[PathBuf]) -> String {
    const SHOWN: usize = 4;
    match others.len() {
        0 => "the folder has no other files".into(),
        count if count > SHOWN => {
            format!("it has {} and {} more", paths(&others[..SHOWN], ", "), count - SHOWN)
        }
        _ => format!("it has {}", paths(others, ", ")),
    }
}

#[cfg(feature = "mnist")]
mod idx {
    use super::{DataError, Dataset, Split};
    use crate::content;
    use flate2::bufread::GzDecoder;
    use std::collections::BTreeMap;
    use std::fs::{self, File};
    use std::io::{self, BufRead, BufReader, ErrorKind, Read};
    use std::path::{Path, PathBuf};

    /// The four parts of a set in the order of this module: possible names of the part, and kind of file.
    const PARTS: [(&[&str], &str); 4] = [
        (&["train-images"], "idx3-ubyte"),
        (&["train-labels"], "idx1-ubyte"),
        (&["t10k-images", "test-images"], "idx3-ubyte"),
        (&["t10k-labels", "test-labels"], "idx1-ubyte"),
    ];

    /// Deflate needs at least two bits for 258 bytes. So a file unpacks to at most this many times its own length.
    const MAX_DEFLATE_RATIO: u64 = 1032;

    /// The largest number of gzip layers of a file. Some files unpack to themselves.
    const MAX_LAYERS: usize = 3;

    impl Dataset {
        /// The 60,000 + 10,000 handwritten digits of MNIST, 28 x 28 pixels in 10 classes. They are unpacked from the
        /// program itself, without any file or download.
        pub fn embedded() -> Dataset {
            let part = |name: &str, gzip: &'static [u8]| Source {
                file: name.into(),
                length: gzip.len() as u64,
                input: Box::new(gzip),
            };
            let sources = [
                part(
                    "train-images-idx3-ubyte.gz",
                    include_bytes!("../assets/mnist/train-images-idx3-ubyte.gz"),
                ),
                part(
                    "train-labels-idx1-ubyte.gz",
                    include_bytes!("../assets/mnist/train-labels-idx1-ubyte.gz"),
                ),
                part(
                    "t10k-images-idx3-ubyte.gz",
                    include_bytes!("../assets/mnist/t10k-images-idx3-ubyte.gz"),
                ),
                part(
                    "t10k-labels-idx1-ubyte.gz",
                    include_bytes!("../assets/mnist/t10k-labels-idx1-ubyte.gz"),
                ),
            ];
            assemble("mnist".into(), sources)
                .expect("the embedded files are fixed and tests/data.rs reads them")
        }

        /// Reads a data set of four IDX files from `dir`. Files may be plain or packed by gzip. The content decides,
        /// not the name.
        ///
        /// Names end in `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` for the training half, and in the
        /// same with `t10k-` or `test-` for the test half. `.idx` may replace `-idx`, and `.gz` may follow. Case does
        /// not matter. A common prefix of all four names is the name of the set (`emnist-letters-train-images-...`).
        /// Without a prefix the set has the name of the folder. If a file exists both plain and as `.gz`, the plain
        /// one is read. Other files, hidden files and sub-folders are ignored.
        ///
        /// The image size and the number of classes come from the files. If labels start at 1, as in EMNIST letters,
        /// class 0 has no images. The files of EMNIST, recognised by their names, hold transposed images. The reader
        /// turns them upright.
        ///
        /// # Errors
        /// [`DataError`] if `dir` does not hold exactly one such set, or if a file is unreadable, damaged, empty, or
        /// does not fit the others. Memory is allocated for the data that a file can hold, never for the sizes that
        /// its header claims.
        pub fn load(dir: &Path) -> Result<Dataset, DataError> {
            let (prefix, files) = find(dir)?;
            let name = match prefix.strip_suffix('-').unwrap_or(&prefix) {
                "" => folder_name(dir),
                prefix => prefix.to_string(),
            };
            let [a, b, c, d] = files.map(Source::open);
            let data = assemble(name, [a?, b?, c?, d?])?;
            Ok(if prefix.starts_with("emnist") { data.turned() } else { data })
        }
    }

    /// The parts of a set that were found: each file's name in lower case without `.gz`, and its path.
    type Parts = [Option<(String, PathBuf)>; 4];

    /// [`parts`], with an error that says where a set is.
    fn find(dir: &Path) -> Result<(String, [PathBuf; 4]), DataError> {
        parts(dir).map_err(|error| match (&error, below(dir)) {
            (DataError::Missing { missing, .. }, below) if missing.len() == 4 && !below.is_empty() => {
                DataError::Below { dir: dir.into(), below }
            }
            _ => error,
        })
    }

    /// The prefix and the four files of the single set in `dir`, in the order of [`PARTS`].
    fn parts(dir: &Path) -> Result<(String, [PathBuf; 4]), DataError> {
        let mut files: Vec<(bool, String, PathBuf)> = Vec::new();
        for path in listed(dir).map_err(|reason| DataError::NotAFolder { dir: dir.into(), reason })? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            // Some unpackers create folders with the name of the file, and macOS creates `._` files.
            if !name.starts_with('.') && path.is_file() {
                let plain = name.strip_suffix(".gz").unwrap_or(&name);
                files.push((plain != name, plain.into(), path));
            }
        }
        // Folders are listed in no fixed order. After sorting, plain files come before packed ones.
        files.sort();

        let (mut sets, mut others) = (BTreeMap::<String, Parts>::new(), Vec::new());
        for (packed, plain, path) in files {
            let name = PathBuf::from(path.file_name().unwrap_or_default());
            let Some((prefix, part)) = place(&plain) else {
                others.push(name);
                continue;
            };
            match &mut sets.entry(prefix.to_string()).or_default()[part] {
                Some((first, _)) if packed && *first == plain => {}
                Some((_, first)) => {
                    let first = std::mem::take(first);
                    return Err(DataError::Twice { dir: dir.into(), first, second: name });
                }
                none => *none = Some((plain, name)),
            }
        }

        if sets.len() > 1 {
            let title = |(prefix, parts): (&String, &Parts)| {
                let count = parts.iter().flatten().count();
                match prefix.strip_suffix('-').unwrap_or(prefix) {
                    "" => format!("one without a prefix: {count} of 4 files"),
                    prefix => format!("{prefix}: {count} of 4 files"),
                }
            };
            return Err(DataError::SeveralSets { dir: dir.into(), sets: sets.iter().map(title).collect() });
        }
        match sets.pop_first().unwrap_or_default() {
            (prefix, [Some(a), Some(b), Some(c), Some(d)]) => {
                Ok((prefix, [a, b, c, d].map(|(_, name)| dir.join(name))))
            }
            (prefix, parts) => Err(DataError::Missing {
                others,
                dir: dir.into(),
                missing: (PARTS.iter().zip(&parts))
                    .filter(|(_, found)| found.is_none())
                    .map(|((stems, kind), _)| format!("{prefix}{}-{kind}", stems[0]))
                    .collect(),
            }),
        }
    }

    /// The entries of a folder.
    fn listed(dir: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    /// The folders up to two levels below `dir` that hold a set. torchvision, for example, puts it there.
    fn below(dir: &Path) -> Vec<PathBuf> {
        let folders = |dir: &Path| listed(dir).unwrap_or_default().into_iter().filter(|path| path.is_dir());
        let near = folders(dir).flat_map(|folder| folders(&folder).chain([folder]).collect::<Vec<_>>());
        let mut found: Vec<PathBuf> = near.filter(|folder| parts(folder).is_ok()).collect();
        found.sort();
        found
    }

    /// The prefix of a file name without `.gz`, and the index of its part in [`PARTS`].
    fn place(name: &str) -> Option<(&str, usize)> {
        PARTS.iter().enumerate().find_map(|(part, (stems, kind))| {
            let name = name.strip_suffix(kind)?.strip_suffix(['-', '.'])?;
            let prefix = stems.iter().find_map(|stem| name.strip_suffix(stem))?;
            Some((prefix, part))
        })
    }

    fn folder_name(dir: &Path) -> String {
        // `.` and `..` have no name until they are resolved, and torchvision calls its folders `raw`.
        let named =
            |dir: &Path| dir.file_name().filter(|name| *name != "raw").map(|name| name.to_os_string());
        let resolved = || {
            let whole = fs::canonicalize(dir).ok()?;
            named(&whole).or_else(|| named(whole.parent()?))
        };
        named(dir).or_else(resolved).map_or("data".into(), |name| name.to_string_lossy().into_owned())
    }

    /// The bytes of one file before unpacking, from any place.
    struct Source {
        /// The file's name in messages.
        file: PathBuf,
        /// Number of bytes in `input`.
        length: u64,
        input: Box<dyn BufRead>,
    }

    impl Source {
        fn open(file: PathBuf) -> Result<Source, DataError> {
            let opened = File::open(&file).and_then(|open| Ok((open.metadata()?.len(), open)));
            match opened {
                Ok((length, open)) => Ok(Source { file, length, input: Box::new(BufReader::new(open)) }),
                Err(reason) => Err(DataError::Unreadable { file, reason }),
            }
        }
    }

    /// The members of a gzip file, one after another. Zeros after the last member come from a tape or a block device.
    struct Members(Option<GzDecoder<Box<dyn BufRead>>>);

    impl Read for Members {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            while let Some(member) = &mut self.0 {
                let read = member.read(into)?;
                if read > 0 || into.is_empty() {
                    return Ok(read);
                }
                let mut rest = self.0.take().expect("a member").into_inner();
                self.0 = loop {
                    let bytes = rest.fill_buf()?;
                    let (count, zeros) = (bytes.len(), bytes.iter().take_while(|byte| **byte == 0).count());
                    match (count, zeros) {
                        (0, _) => break None,
                        (_, 0) => break Some(GzDecoder::new(rest)),
                        _ => rest.consume(zeros),
                    }
                };
            }
            Ok(0)
        }
    }

    /// One file after reading and checking. It has `N` sizes, none of them 0, and as many bytes as their product.
    struct Idx<const N: usize> {
        file: PathBuf,
        sizes: [usize; N],
        bytes: Vec<u8>,
    }

    impl<const N: usize> Idx<N> {
        const MAGIC: u32 = 0x800 | N as u32;
        const HEADER: usize = 4 + 4 * N;

        /// Reads `source` to its end, so that a gzip checksum is checked too. `what` describes the sizes for
        /// messages.
        fn read(source: Source, what: &'static str) -> Result<Idx<N>, DataError> {
            let Source { file, length, mut input } = source;
            let failed = |reason: io::Error, gzip: bool| {
                use ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
                let file = file.clone();
                // The decoder reports damage with these kinds. Other errors come from the disk.
                match reason.kind() {
                    UnexpectedEof if gzip => DataError::CorruptGzip {
                        file,
                        reason: io::Error::new(UnexpectedEof, "the gzip stream breaks off"),
                    },
                    InvalidData | InvalidInput if gzip => DataError::CorruptGzip { file, reason },
                    _ => DataError::Unreadable { file, reason },
                }
            };
            // Browsers may pack a packed file again.
            let (mut layers, mut most) = (0, length);
            while layers < MAX_LAYERS
                && content::kind(input.fill_buf().map_err(|reason| failed(reason, layers > 0))?)
                    == Some(content::GZIP)
            {
                input = Box::new(BufReader::new(Members(Some(GzDecoder::new(input)))));
                (layers, most) = (layers + 1, length.saturating_mul(MAX_DEFLATE_RATIO));
            }
            let failed = |reason| failed(reason, layers > 0);
            let start = input.fill_buf().map_err(failed)?;
            if !start.starts_with(&[0, 0])
                && let Some(what) = content::refusal(start, &format!("an IDX file of {what}"))
            {
                return Err(DataError::Other { file, what });
            }

            let mut header = Vec::with_capacity(Self::HEADER);
            (&mut input).take(Self::HEADER as u64).read_to_end(&mut header).map_err(failed)?;
            let (words, _) = header.as_chunks();
            let words: Vec<u32> = words.iter().map(|word| u32::from_be_bytes(*word)).collect();
            if let Some(&found) = words.first()
                && found != Self::MAGIC
            {
                return Err(DataError::WrongMagic { file, what, expected: Self::MAGIC, found });
            }
            if header.len() < Self::HEADER {
                return Err(DataError::Truncated {
                    file,
                    expected: Self::HEADER as u128,
                    found: header.len() as u128,
                });
            }
            let sizes: [u32; N] = std::array::from_fn(|i| words[1 + i]);
            if sizes.contains(&0) {
                return Err(DataError::Empty { file, what, sizes: sizes.into() });
            }

            // A product of three u32 cannot overflow a u128. So absurd sizes only mean that the file is too short.
            let values: u128 = sizes.iter().map(|&size| u128::from(size)).product();
            let limit = u64::try_from(values).unwrap_or(u64::MAX);
            let reserve = usize::try_from(limit.min(most)).unwrap_or(usize::MAX);
            let mut bytes = Vec::new();
            (bytes.try_reserve_exact(reserve)).map_err(|error| failed(error.into()))?;
            (&mut input).take(limit).read_to_end(&mut bytes).map_err(failed)?;
            let rest = io::copy(&mut input, &mut io::sink()).map_err(failed)?;

            let expected = Self::HEADER as u128 + values;
            let found = Self::HEADER as u128 + bytes.len() as u128 + u128::from(rest);
            if found < expected {
                return Err(DataError::Truncated { file, expected, found });
            }
            if found > expected {
                return Err(DataError::TrailingBytes { file, expected, found });
            }
            Ok(Idx {
                file,
                // No size exceeds the product, and that many bytes are in memory.
                sizes: sizes.map(|size| size as usize),
                bytes,
            })
        }
    }

    /// Reads one half, images `[count, height, width]` and labels `[count]`.
    fn read_half(images: Source, labels: Source) -> Result<(Idx<3>, Idx<1>), DataError> {
        let images = Idx::<3>::read(images, "images: count x height x width")?;
        let labels = Idx::<1>::read(labels, "labels: count")?;
        if labels.sizes[0] != images.sizes[0] {
            return Err(DataError::CountsDiffer {
                file: labels.file,
                images_file: images.file,
                labels: labels.sizes[0],
                images: images.sizes[0],
            });
        }
        Ok((images, labels))
    }

    /// Reads the four files, in the order of [`PARTS`], and checks that they fit together.
    fn assemble(name: String, sources: [Source; 4]) -> Result<Dataset, DataError> {
        let [train_images, train_labels, test_images, test_labels] = sources;
        let (train_images, train_labels) = read_half(train_images, train_labels)?;
        let (test_images, test_labels) = read_half(test_images, test_labels)?;

        let [_, height, width] = train_images.sizes;
        let [_, test_height, test_width] = test_images.sizes;
        if [height, width] != [test_height, test_width] {
            return Err(DataError::SizesDiffer {
                file: test_images.file,
                train_file: train_images.file,
                expected: [height, width],
                found: [test_height, test_width],
            });
        }

        let classes = train_labels.bytes.iter().max().map_or(0, |&label| label) as usize + 1;
        if classes < 2 {
            return Err(DataError::OneClass { file: train_labels.file });
        }
        let mut labels = test_labels.bytes.iter();
        if let Some(index) = labels.position(|&label| label as usize >= classes) {
            return Err(DataError::LabelOutOfRange {
                label: test_labels.bytes[index],
                file: test_labels.file,
                classes,
                index,
            });
        }

        let split = |images: Idx<3>, labels: Idx<1>| Split { images: images.bytes, labels: labels.bytes };
        Ok(Dataset {
            name,
            height,
            width,
            classes,
            transposed: false,
            train: split(train_images, train_labels),
            test: split(test_images, test_labels),
        })
    }
}
