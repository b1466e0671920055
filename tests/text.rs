//! Texts: the embedded plays are what their page says; what a file or a folder gives, and the sentence for each way in
//! which it can be wrong; vocabularies there and back; the batches of a training, those after a pause too.
#![cfg(all(feature = "text", feature = "files"))]

mod common;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use common::{Shaders, gpu, repository};
use proptest::prelude::*;
use serde_json::json;
use sterna::gpu::{Dtype::*, Error, Gpu, Tensor};
use sterna::kernels::{self, Sgd};
use sterna::model::{Network, Params, Pass, Scoring, Update};
use sterna::parameter::{Parameter, Role};
use sterna::reference;
use sterna::store::{Arch, Checkpoint};
use sterna::text::{Corpus, IGNORE, MOST_CHARACTERS, TextError, Vocabulary};
use sterna::train::{Evaluator, Heard, Recipe, Source, Text, Trainer};
use tempfile::TempDir;

/// The ids of both splits.
fn ids(corpus: &Corpus) -> Vec<u32> {
    [&corpus.train[..], &corpus.validation].concat()
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).expect("written");
    }
    folder
}

fn load(path: &Path) -> Corpus {
    Corpus::load(path).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks that a path gives no corpus, for a reason told in one line that contains all of `parts`.
fn fails(path: &Path, parts: &[&str]) {
    says(&Corpus::load(path).expect_err("this must not load"), parts);
}

fn says(error: &TextError, parts: &[&str]) {
    let message = error.to_string();
    for part in parts {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
    assert!(!message.contains('\n'), "more than a line: {message}");
    println!("{message}");
}

// --- the embedded plays ----------------------------------------------------------------------------

#[test]
fn the_embedded_plays_are_what_their_page_says() {
    let corpus = Corpus::embedded();
    let bytes = corpus.vocabulary.decode_bytes(&ids(&corpus));
    let text = std::str::from_utf8(&bytes).expect("it is ASCII");
    let folder = repository().join("assets/text");
    let page = fs::read_to_string(folder.join("README.md")).expect("the page");
    let packed = fs::read(folder.join("shakespeare.txt.gz")).expect("the file");
    let thousands = |count: usize| match count {
        1_000_000.. => format!("{},{:03},{:03}", count / 1_000_000, count / 1000 % 1000, count % 1000),
        _ => format!("{},{:03}", count / 1000, count % 1000),
    };
    for said in [
        format!("{:x}", md5::compute(&bytes)),
        format!("{:x}", md5::compute(&packed)),
        format!("| {} |", thousands(packed.len())),
        format!("{} characters in {} lines", thousands(bytes.len()), thousands(text.lines().count())),
        format!("{} different characters", corpus.vocabulary.len()),
        format!("the first {} characters train", thousands(corpus.train.len())),
        format!("the last {} validate", thousands(corpus.validation.len())),
    ] {
        assert!(page.contains(&said), "{said} does not stand in assets/text/README.md");
    }
    assert!(
        text.is_ascii()
            && text.starts_with("First Citizen:\nBefore we proceed any further, hear me speak.\n\n")
    );
    assert!(text.ends_with("\n\nANTONIO:\nNoble Sebastian,\nThou let'st thy fortune sleep--die, rather; wink'st\nWhiles thou art waking.\n"));
    // No Markdown, no stage direction and no blank at the end of a line is left.
    assert!(
        !text.contains(['*', '_', '#', '\\', '[', ']']) && !text.contains(" \n") && !text.contains("\n\n\n")
    );
    // An empty line stands before the name of a speaker and nowhere else.
    assert!(text.split("\n\n").all(|speech| speech.lines().next().is_some_and(|name| name.ends_with(':'))));
    assert_eq!((corpus.name.as_str(), corpus.note, corpus.files.len()), ("shakespeare", None, 0));
}

// --- files and folders -----------------------------------------------------------------------------

#[test]
fn a_file_is_a_corpus_of_its_characters() {
    let folder = folder(&[("A book.txt", "b€a\r\nab\tb€a\r\n".as_bytes())]);
    let path = folder.path().join("A book.txt");
    let corpus = load(&path);
    assert_eq!(corpus.vocabulary.characters(), Some(&['\t', '\n', '\r', 'a', 'b', '€'][..]));
    assert_eq!(ids(&corpus), [4, 5, 3, 2, 1, 3, 4, 0, 4, 5, 3, 2, 1]);
    assert_eq!((corpus.train.len(), corpus.validation.len()), (11, 2), "nine tenths, rounded down");
    assert_eq!((corpus.name.as_str(), &corpus.files[..], &corpus.note), ("A book", &[path][..], &None));
}

#[test]
fn a_folder_is_its_texts_in_the_order_of_names() {
    let mark = [&b"\xef\xbb\xbf"[..], b"third"].concat();
    let folder = folder(&[
        ("c.TXT", &mark),
        ("a.md", b"first"),
        ("b.txt", b"second\n"),
        ("a.rs", b"not this"),
        (".hidden.txt", b"nor this"),
        ("empty.txt", b""),
    ]);
    fs::create_dir(folder.path().join("d.txt")).expect("a folder");
    fs::write(folder.path().join("d.txt/deep.txt"), "nor that").expect("written");
    let corpus = load(folder.path());
    assert_eq!(corpus.vocabulary.decode(&ids(&corpus)), "first\nsecond\nthird");
    let names: Vec<_> = corpus.files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.md", "b.txt", "c.TXT", "empty.txt"]);
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(corpus.name, name);
    assert_eq!(load(&folder.path().join("d.txt/..")).name, name);
}

#[test]
fn what_is_not_utf_8_is_bytes_and_says_so() {
    let folder = folder(&[("a.txt", b"Guten Tag"), ("b.txt", b"Gr\xfc\xdf Gott")]);
    let corpus = load(folder.path());
    assert_eq!((corpus.vocabulary.len(), corpus.vocabulary.unit()), (256, "bytes"));
    assert_eq!(corpus.vocabulary.decode_bytes(&ids(&corpus)), b"Guten Tag\nGr\xfc\xdf Gott");
    let note = corpus.note.expect("a note");
    assert!(note.starts_with("is not UTF-8 at byte 2 of ") && note.contains("b.txt"), "{note}");
    assert!(note.ends_with(", so its ids are bytes"), "{note}");
    let note = Corpus::new("x", b"abc\xff").expect("a corpus").note.expect("a note");
    assert_eq!(note, "is not UTF-8 at byte 3, so its ids are bytes");
}

#[test]
fn a_text_of_many_characters_is_bytes_and_says_so() {
    let text = |count: u32| -> String { (0..count).filter_map(|i| char::from_u32(0x4e00 + i)).collect() };
    let most = Corpus::new("x", text(MOST_CHARACTERS as u32).as_bytes()).expect("a corpus");
    assert_eq!((most.vocabulary.len(), most.vocabulary.unit(), most.note), (256, "characters", None));
    let more = text(MOST_CHARACTERS as u32 + 1);
    let corpus = Corpus::new("x", more.as_bytes()).expect("a corpus");
    assert_eq!(
        corpus.note.as_deref(),
        Some("has 257 different characters, more than 256, so its ids are bytes")
    );
    assert_eq!((corpus.len(), corpus.vocabulary.decode(&ids(&corpus))), (3 * 257, more));
}

#[test]
fn every_refusal_says_what_to_do() {
    let folder = folder(&[
        ("empty.txt", b""),
        ("mark.txt", b"\xef\xbb\xbf"),
        ("same.txt", b"\n\n\n\n"),
        ("picture.txt", b"\x89PNG\r\n\x1a\n\0\0"),
        ("packed.txt", b"\x1f\x8b\x08\0\0"),
        ("wide.txt", b"\xff\xfea\0b\0"),
        ("zeros.txt", b"abc\0def"),
        ("short.txt", b"To be, or not to be"),
    ]);
    let file = |name: &str| folder.path().join(name);
    fails(&file("none.txt"), &["none.txt", "expected a text file, or a folder with text files"]);
    fails(&file("empty.txt"), &["empty: expected a text, found nothing in it; give one that is not empty"]);
    fails(&file("mark.txt"), &["mark: expected a text"]);
    fails(&file("same.txt"), &["same: all its 4 characters are '\\n'", "give another text"]);
    let expected = "expected plain text, such as a .txt file";
    fails(&file("picture.txt"), &["picture.txt: is a PNG picture", expected]);
    fails(&file("packed.txt"), &["packed.txt: is gzip", expected, "unpack it by gunzip"]);
    fails(&file("wide.txt"), &["wide.txt: is text in UTF-16", expected, "save it as UTF-8"]);
    fails(&file("zeros.txt"), &["zeros.txt: is no text", expected, "byte 3 is 0"]);
    // A folder is refused for the first file that is.
    fails(folder.path(), &["packed.txt: is gzip"]);
    let empty = self::folder(&[]);
    fails(empty.path(), &["names end in .txt or .md, found none, and no other files; put the text there"]);
    let other = self::folder(&[("a.rs", b"1"), ("b.rs", b"2"), ("c", b"3"), ("d", b"4"), ("e", b"5")]);
    fails(other.path(), &["found a.rs, b.rs, c, d and 1 more; put the text there or name a file"]);

    let short = load(&file("short.txt"));
    assert_eq!((short.train.len(), short.validation.len()), (17, 2));
    assert!(short.fits(1).is_ok());
    says(
        &short.fits(2).expect_err("two are no context of two and the next"),
        &[
            "short: its last tenth, which validates, has 2 characters, and a context of 2 takes 3",
            "give a text of 21 characters or more, or a context of at most 1",
        ],
    );
    let tiny = Corpus::new("tiny", b"a\xff").expect("a corpus");
    says(&tiny.fits(1).expect_err("one is no context"), &["1 bytes", "give a text of 11 bytes or more"]);
    assert!(!tiny.fits(1).unwrap_err().to_string().contains("at most"));
}

#[test]
fn the_length_that_a_refusal_asks_for_is_enough_and_no_longer_than_needed() {
    for context in [1, 2, 7, 64] {
        let corpus = |count: usize| Corpus::new("x", &b"ab".repeat(count)[..count]).expect("a corpus");
        assert!(
            corpus(10 * context + 1).fits(context).is_ok() && corpus(10 * context).fits(context).is_err()
        );
        assert!(corpus(10 * context + 1).train.len() > context);
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_read_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("a.txt", b"abc")]);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o000)).expect("changed");
    // Whoever may read everything finds no fault.
    if fs::read_dir(folder.path()).is_err() {
        fails(folder.path(), &["with text files, that can be read, found: Permission denied"]);
    }
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("changed");
}

#[test]
fn corpora_are_told_apart() {
    let prints: BTreeSet<u32> = [&b"abcabc"[..], b"abcacb", b"abdabd", b"abc\xffbc"]
        .map(|text| Corpus::new("x", text).expect("a corpus").fingerprint())
        .into();
    assert_eq!(prints.len(), 4);
    assert_eq!(Corpus::embedded().fingerprint(), Corpus::embedded().fingerprint());
}

// --- vocabularies ----------------------------------------------------------------------------------

#[test]
fn unknown_characters_are_named() {
    let vocabulary = Vocabulary::of("a text");
    let error = vocabulary.encode("an 'axe'\n").expect_err("some are not known").to_string();
    assert_eq!(error, "'n', '\\'', '\\n' are not among the 5 characters of the vocabulary: leave them out");
    let error = vocabulary.encode("x!").expect_err("one is not known").to_string();
    assert_eq!(error, "'!' is not among the 5 characters of the vocabulary: leave it out");
    let error = vocabulary.encode("0123456789").expect_err("none is known").to_string();
    assert!(error.starts_with("'0', '1', '2', '3', '4', '5', '6', '7' and 2 more are not"), "{error}");
    assert_eq!(vocabulary.encode(""), Ok(Vec::new()));
}

#[test]
fn a_vocabulary_in_json_is_checked() {
    for (json, said) in [
        (json!({"characters": "ba"}), "order of code points"),
        (json!({"characters": "aa"}), "each once"),
        (json!({"characters": ""}), "has 0 characters, expected 1 to 256"),
        (json!({"characters": (0x4e00..0x4f01).filter_map(char::from_u32).collect::<String>()}), "has 257"),
    ] {
        let error = serde_json::from_value::<Vocabulary>(json).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(serde_json::to_value(Vocabulary::of("ba€")).unwrap(), json!({"characters": "ab€"}));
    assert_eq!(serde_json::to_value(Vocabulary::bytes()).unwrap(), json!("bytes"));
}

proptest! {
    /// Of any characters of Unicode, whether they are few or many.
    #[test]
    fn a_text_comes_back(text in "\\PC{2,400}|[a-f\n ]{2,400}|(?s:.){2,400}") {
        let Ok(corpus) = Corpus::new("x", text.as_bytes()) else {
            let characters: BTreeSet<char> = text.chars().collect();
            prop_assert_eq!(characters.len(), 1);
            return Ok(());
        };
        let (ids, vocabulary) = (ids(&corpus), &corpus.vocabulary);
        prop_assert_eq!(&vocabulary.decode(&ids), &text);
        prop_assert_eq!(vocabulary.encode(&text), Ok(ids.clone()));
        prop_assert!(ids.iter().all(|&id| (id as usize) < vocabulary.len()));
        prop_assert_eq!(vocabulary.characters().is_none(), corpus.note.is_some());
        prop_assert_eq!(corpus.train.len(), ids.len() * 9 / 10);
        let json = serde_json::to_string(vocabulary).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Vocabulary>(&json).unwrap(), vocabulary);
    }

    #[test]
    fn bytes_come_back(bytes in prop::collection::vec(any::<u8>(), 2..300)) {
        if let Ok(corpus) = Corpus::new("x", &bytes) {
            prop_assert_eq!(corpus.vocabulary.decode_bytes(&ids(&corpus)), bytes);
        }
    }
}

// --- batches ---------------------------------------------------------------------------------------

const CONTEXT: usize = 6;
const CLASSES: usize = 32;

/// A network that gives every label the same logit, and keeps the tensors of what it was last bound to.
struct Indifferent {
    params: Params,
    bound: RefCell<Option<[Tensor; 2]>>,
}

impl Indifferent {
    fn new(gpu: &Gpu) -> Indifferent {
        let parameters = [Parameter::new("nothing", &[64], Role::Float)];
        let params = Params::upload(gpu, &parameters, &[vec![0.0; 64]]).expect("fits");
        Indifferent { params, bound: RefCell::new(None) }
    }

    /// The batch of the last step.
    fn batch(&self, gpu: &Gpu) -> (Vec<i32>, Vec<u32>) {
        let bound = self.bound.borrow();
        let [input, labels] = bound.as_ref().expect("bound");
        (gpu.download(input).expect("read back"), gpu.download(labels).expect("read back"))
    }
}

impl Network for Indifferent {
    fn params(&self) -> &Params {
        &self.params
    }

    fn inputs(&self) -> usize {
        CONTEXT
    }

    fn bind(&self, gpu: &Gpu, items: usize, scoring: Option<Scoring>) -> Result<Pass, Error> {
        let input = gpu.zeros("input", I32, &[items, CONTEXT])?;
        let labels = gpu.zeros("labels", U32, &[items * CONTEXT])?;
        let logits = gpu.zeros("logits", F32, &[items, CLASSES])?;
        let Scoring { totals, smoothing, .. } = scoring.expect("the tests score");
        // One label for each item: what it is does not change the loss.
        let (any, dz) = (gpu.zeros("any", U32, &[items])?, gpu.zeros("dz", F32, &[items, CLASSES])?);
        let loss = vec![kernels::softmax_xent(gpu, &logits, &any, smoothing, &dz, totals)];
        *self.bound.borrow_mut() = Some([input.clone(), labels.clone()]);
        let none = Vec::new;
        Ok(Pass {
            input,
            labels,
            logits,
            products: Vec::new(),
            forward: none(),
            head: none(),
            loss,
            backward: none(),
        })
    }
}

const BATCH: usize = 5;
/// Steps of an epoch.
const STEPS: usize = 8;
const EPOCHS: usize = 3;
const SEED: u64 = 0x1234_5678_9abc;

fn some_ids() -> Vec<u32> {
    (0..137).map(|i| i * 7 % 64).collect()
}

fn trainer(gpu: &Gpu) -> Trainer<Indifferent, Text> {
    let source = Text::drawn(gpu, &some_ids(), CONTEXT, SEED, BATCH * STEPS).expect("fits");
    let recipe = Recipe {
        batch: BATCH,
        smoothing: 0.0,
        shadow: true,
        update: Update::Sgd(Sgd { momentum: 0.9 }),
        rates: vec![0.1; STEPS * EPOCHS],
        decays: vec![0.0; STEPS * EPOCHS],
        clip: None,
        micro_batches: None,
    };
    Trainer::on(gpu, Indifferent::new(gpu), source, recipe).expect("fits")
}

/// Trains to the end of the epoch or so many steps of it at least, and checks the last batch.
fn go_on(gpu: &Gpu, trainer: &mut Trainer<Indifferent, Text>, steps: usize) {
    let until = BATCH * steps;
    let mut heard = |heard: &Heard| match heard.items >= until {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    trainer.run(&mut heard).expect("the device works");
    let step = trainer.steps() as u32 - 1;
    let twin = reference::text_batch(&some_ids(), CONTEXT, Some(SEED), [step, 0], BATCH);
    assert_eq!(trainer.network.batch(gpu), twin, "step {step}");
}

#[test]
fn a_step_has_its_batch_whatever_the_pauses() {
    let gpu = gpu(Shaders::Plain);
    let arch = Arch::new("indifferent", json!({}));
    let mut trainer = self::trainer(gpu);
    let mut seen = BTreeSet::new();
    while trainer.epoch < EPOCHS {
        let before = trainer.steps();
        go_on(gpu, &mut trainer, before % STEPS + 1);
        assert!(trainer.steps() > before);
        seen.insert(trainer.steps() % STEPS);
        // As a file and back, on a device that knows nothing of it.
        let file = trainer.checkpoint(&arch, json!(null)).expect("read back").to_bytes();
        let file = Checkpoint::from_bytes(&file).expect("a checkpoint");
        trainer = self::trainer(gpu);
        trainer.restore(&file).expect("restored");
    }
    assert!(seen.len() > 3, "it stopped within epochs: {seen:?}");
    // Without a pause the last batch is the same, and the loss is that of the labels of all items.
    let mut whole = self::trainer(gpu);
    for _ in 0..EPOCHS {
        let score = whole.run_epoch(&mut |_| {}).expect("an epoch");
        let expected = (CLASSES as f64).ln() / CONTEXT as f64;
        assert!((score.loss - expected).abs() < 1e-6, "{} and {expected}", score.loss);
    }
    let last =
        reference::text_batch(&some_ids(), CONTEXT, Some(SEED), [(STEPS * EPOCHS - 1) as u32, 0], BATCH);
    assert_eq!(whole.network.batch(gpu), last);
}

#[test]
fn every_start_is_drawn_and_the_text_is_never_left() {
    // 131 starts, 4000 draws: one that is missing would have a chance of 131 (130/131)^4000 = 7e-12.
    let ids: Vec<u32> = (0..137).collect();
    let mut starts = vec![0; ids.len() - CONTEXT];
    for step in 0..40 {
        let (x, y) = reference::text_batch(&ids, CONTEXT, Some(SEED), [step, 0], 100);
        for (x, y) in x.chunks_exact(CONTEXT).zip(y.chunks_exact(CONTEXT)) {
            starts[x[0] as usize] += 1;
            assert!((0..CONTEXT).all(|j| x[j] == x[0] + j as i32 && y[j] == x[j] as u32 + 1));
        }
    }
    assert!(starts.iter().all(|&count| count > 0), "{starts:?}");
    // Other steps, other items and other seeds have others.
    let batch = |seed, step| reference::text_batch(&ids, CONTEXT, Some(seed), [step, 0], 10).0;
    assert!(batch(SEED, 0) != batch(SEED, 1) && batch(SEED, 0) != batch(SEED + 1, 0));
    // A seed has 64 bits.
    assert!(batch(SEED, 0) != batch(SEED ^ 1 << 40, 0));
}

#[test]
fn validation_predicts_each_token_once() {
    let gpu = gpu(Shaders::Plain);
    for count in [CONTEXT + 1, 36, 37, 38, 42, 43, 137] {
        let ids: Vec<u32> = (0..count as u32).collect();
        let source = Text::whole(gpu, &ids, CONTEXT).expect("fits");
        assert_eq!((source.items(), source.labels()), ((count - 1).div_ceil(CONTEXT), count - 1));
        let network = Indifferent::new(gpu);
        let evaluator = Evaluator::on(gpu, &network, &source).expect("fits");
        let score = evaluator.score().expect("a score");
        // One loss for each item, divided by the labels that count.
        let expected = source.items() as f64 * (CLASSES as f64).ln() / (count - 1) as f64;
        assert!((score.loss - expected).abs() < 1e-6, "{} and {expected} of {count}", score.loss);
        let (x, y) = network.batch(gpu);
        let predicted: Vec<u32> = y.iter().copied().filter(|&label| label != IGNORE).collect();
        assert_eq!(predicted, (1..count as u32).collect::<Vec<_>>());
        for (x, y) in x.into_iter().zip(y) {
            assert!(if y == IGNORE { x == count as i32 - 1 } else { x as u32 + 1 == y });
        }
    }
}

#[test]
fn a_long_validation_is_several_batches() {
    let gpu = gpu(Shaders::Plain);
    // 401 sequences of 6, in batches of at most 1000 labels; the last sequence has one label.
    let source = Text::whole(gpu, &[1; 2402], CONTEXT).expect("fits");
    let evaluator = Evaluator::on(gpu, &Indifferent::new(gpu), &source).expect("fits");
    assert_eq!((source.items(), evaluator.steps()), (401, 2));
    let expected = 401.0 * (CLASSES as f64).ln() / 2401.0;
    let score = evaluator.score().expect("a score");
    assert!((score.loss - expected).abs() < 1e-6, "{} and {expected}", score.loss);
}

#[test]
#[should_panic(expected = "6 ids are no sequence of 6 and the id after it")]
fn a_text_without_a_sequence_is_our_mistake() {
    let _ = Text::drawn(gpu(Shaders::Plain), &[0; CONTEXT], CONTEXT, 0, 1);
}
