//! Tokenizers: the ids of texts against those of other programs, texts and bytes back from ids, files there and back,
//! and chats.
//!
//! The environment variable `STERNA_LLAMA_VOCABULARY` names the folder `vendor/llama.cpp/models` of the source package
//! of llama-cpp-python (0.3.36), which has the vocabularies of Llama 3 and GPT-2 with texts and their ids. They are too
//! large for this repository.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sterna::generate::Characters;
use sterna::random::{Stream, draw};
use sterna::store::gguf_tokenizer;
use sterna::text::chat::{Form, Message, Role};
use sterna::text::{GgufTokenizer, Vocabulary};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-lm").join(name)
}

fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a golden file.
fn cases(name: &str) -> Vec<Value> {
    serde_json::from_slice(&bytes(golden(name))).expect("a list")
}

fn ids(case: &Value) -> Vec<u32> {
    serde_json::from_value(case["ids"].clone()).expect("ids")
}

fn text(case: &Value) -> &str {
    case["text"].as_str().expect("a text")
}

fn folder(name: &str) -> Vocabulary {
    let [json, config] =
        ["tokenizer.json", "tokenizer_config.json"].map(|file| bytes(golden(name).join(file)));
    Vocabulary::from_tokenizer_json(&json, Some(&config)).expect("a tokenizer")
}

fn metadata(path: impl AsRef<Path>) -> GgufTokenizer {
    gguf_tokenizer(&bytes(path)).expect("read").expect("a tokenizer")
}

/// The tokenizer of the golden files.
fn tiny() -> Vocabulary {
    folder("hf-autobitlinear")
}

// --- files -----------------------------------------------------------------------------------------

#[test]
fn one_tokenizer_in_four_files_is_one() {
    let one = tiny();
    assert_eq!(folder("hf-bitlinear"), one, "merges as pairs");
    for (file, said) in [
        ("gguf-tq2_0.gguf", None),
        (
            "gguf-i2_s.gguf",
            Some(
                "the file does not say how to split a text (tokenizer.ggml.pre), so it is split as by llama-bpe",
            ),
        ),
    ] {
        let metadata = metadata(golden(file));
        assert_eq!(metadata.note().as_deref(), said, "{file}");
        assert_eq!(Vocabulary::from_gguf(&metadata).expect("a tokenizer"), one, "{file}");
    }
    assert_eq!((one.len(), one.unit(), one.characters()), (448, "tokens", None));
    assert_eq!((one.bos(), one.stops()), (Some(440), &[441, 447][..]));
    assert_eq!([one.special("<|eot_id|>"), one.special("the")], [Some(447), None]);
    assert!(one.is_special(447) && !one.is_special(0));
}

#[test]
fn files_come_back() {
    let one = tiny();
    let json = one.to_tokenizer_json().expect("a file");
    let config = one.to_tokenizer_config_json().expect("a file");
    let metadata = one.to_gguf().expect("Llama 3's split has a name");
    assert_eq!(Vocabulary::from_tokenizer_json(&json, Some(&config)).as_ref(), Ok(&one));
    assert_eq!(
        Vocabulary::from_tokenizer_json(&json, None).as_ref(),
        Ok(&one),
        "the names of its tokens say it"
    );
    let back = Vocabulary::from_gguf(&metadata).expect("a tokenizer");
    assert_eq!(back.to_tokenizer_json(), Some(json));
    assert_eq!(metadata, self::metadata(golden("gguf-tq2_0.gguf")));
    assert_eq!(back, one);
    let bytes = Vocabulary::bytes();
    assert_eq!((bytes.to_tokenizer_json(), bytes.to_gguf()), (None, None));
    // A vocabulary in the header of a file of our own.
    assert_eq!(json!(one), json!("tokenizer.json"));
    let error = serde_json::from_value::<Vocabulary>(json!(one)).expect_err("it is elsewhere").to_string();
    assert_eq!(error, "the vocabulary is a tokenizer, which is in tokenizer.json and not here");
}

/// A tokenizer of the bytes of ASCII, with other splits and with special tokens in the middle.
fn small(pre: &str) -> GgufTokenizer {
    let ascii = (0..128u8).map(|byte| match byte {
        0x21..=0x7e => (byte as char).to_string(),
        0x7f => "\u{121}".into(),
        _ => char::from_u32(0x100 + u32::from(byte)).expect("a character").to_string(),
    });
    let words = ["<|im_start|>", "<|im_end|>", "12", "ab", "\u{120}a", "<tag>"].map(String::from);
    let mut types = vec![1; 128 + words.len()];
    types[128..130].fill(3);
    types[133] = 4;
    GgufTokenizer {
        model: "gpt2".into(),
        pre: Some(pre.into()),
        tokens: ascii.chain(words).collect(),
        merges: ["1 2", "a b", "\u{120} a"].map(String::from).into(),
        types,
        bos: Some(128),
        eos: Some(129),
        add_bos: None,
    }
}

#[test]
fn every_split_has_its_pieces() {
    for (pre, expected, bos) in [
        // The digits are one piece, and the token `12` is in it.
        ("llama-bpe", vec![130, 51], Some(128)),
        ("gpt-2", vec![130, 51], None),
        // Each digit is a piece.
        ("smollm", vec![49, 50, 51], None),
    ] {
        let metadata = small(pre);
        let vocabulary = Vocabulary::from_gguf(&metadata).expect("a tokenizer");
        assert_eq!((vocabulary.encode("123"), vocabulary.bos()), (Ok(expected), bos), "{pre}");
        assert_eq!(vocabulary.encode(" ab ab"), Ok(vec![32, 131, 32, 131]), "{pre}: the lower rank is first");
        let json = vocabulary.to_tokenizer_json().expect("a file");
        let config = vocabulary.to_tokenizer_config_json();
        assert_eq!(
            Vocabulary::from_tokenizer_json(&json, config.as_deref()).as_ref(),
            Ok(&vocabulary),
            "{pre}"
        );
        let again = vocabulary.to_gguf().expect("a name");
        assert_eq!(again, GgufTokenizer { add_bos: Some(bos.is_some()), ..metadata }, "{pre}");
    }
}

// --- texts and ids ---------------------------------------------------------------------------------

#[test]
fn texts_have_the_ids_of_other_programs() {
    let vocabulary = tiny();
    let cases = cases("tokenizer-cases.json");
    assert_eq!(cases.len(), 215);
    for case in &cases {
        assert_eq!(vocabulary.encode(text(case)), Ok(ids(case)), "{:?}", text(case));
        assert_eq!(vocabulary.decode(&ids(case)), text(case));
    }
}

#[test]
fn ids_have_the_bytes_of_other_programs() {
    let vocabulary = tiny();
    let cases = cases("tokenizer-decode.json");
    assert_eq!(cases.len(), 52);
    for case in &cases {
        let ids = ids(case);
        let hex: String = vocabulary.decode_bytes(&ids).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (json!(hex), json!(vocabulary.decode(&ids))),
            (case["bytes"].clone(), case["text"].clone())
        );
        let ordinary: Vec<u32> = ids.into_iter().filter(|&id| !vocabulary.is_special(id)).collect();
        assert_eq!(vocabulary.decode(&ordinary), case["text_without_special"]);
    }
}

/// About `bytes` bytes of characters from all of Unicode, with many spaces, line ends, digits and letters.
fn random_text(seed: u64, bytes: usize) -> String {
    let mut text = String::new();
    for i in 0.. {
        let [class, which, ..] = draw(seed, Stream::Text, 0, i);
        let few = |characters: &[char]| characters[which as usize % characters.len()];
        let up_to = |most: u32| char::from_u32(which % most).unwrap_or('\u{d7ff}');
        text.push(match class % 10 {
            0 | 1 => few(&[' ', ' ', '\n', '\r', '\t', '\u{a0}', '\u{3000}', '\u{2028}']),
            2 => few(&['0', '7', '\u{665}', '\u{b2}', '\u{2167}', '\u{1d7d8}']),
            3 => few(&['\'', 's', 'T', 'l', 'v', 'e', '\u{17f}', '\u{301}', '\u{200d}']),
            4..7 => up_to(0x80),
            7 => up_to(0x800),
            8 => up_to(0x10000),
            _ => up_to(0x110000),
        });
        if text.len() >= bytes {
            break;
        }
    }
    text
}

#[test]
fn a_random_text_comes_back() {
    let vocabulary = tiny();
    let text = random_text(1, 1 << 20);
    for ids in [vocabulary.encode(&text), vocabulary.encode_plain(&text)] {
        let ids = ids.expect("every byte is a token");
        assert!(vocabulary.decode(&ids) == text, "the text came back in another form");
    }
}

#[test]
fn a_stream_prints_whole_characters() {
    let vocabulary = tiny();
    let text = random_text(2, 50_000).replace(char::REPLACEMENT_CHARACTER, "");
    let (mut stream, mut printed) = (Characters::default(), String::new());
    for id in vocabulary.encode(&text).expect("ids") {
        let part = stream.push(&vocabulary.decode_bytes(&[id]));
        assert!(
            !part.contains(char::REPLACEMENT_CHARACTER),
            "half a character after {} bytes",
            printed.len()
        );
        printed += &part;
    }
    printed += &stream.finish();
    assert!(printed == text);
}

#[test]
fn a_long_piece_is_merged_in_order() {
    let vocabulary = Vocabulary::from_gguf(&small("gpt-2")).expect("a tokenizer");
    let ids = vocabulary.encode(&"ab".repeat(200_000)).expect("ids");
    assert_eq!(ids, vec![131; 200_000]);
    let spaces = vocabulary.encode(&format!("{}x", " ".repeat(500_000))).expect("ids");
    assert_eq!(spaces.len(), 500_001);
    let error = vocabulary.encode(&format!("{}x", " ".repeat(2_000_000))).expect_err("too long").to_string();
    assert!(error.starts_with("the text cannot be split into pieces ("), "{error}");
    let error = vocabulary.encode("a \u{e4}\u{20ac}\u{e4}").expect_err("not ASCII").to_string();
    assert_eq!(error, "'\u{e4}', '\u{20ac}' are not among the 134 tokens of the vocabulary: leave them out");
}

#[test]
fn special_tokens_of_a_plain_text_are_text() {
    let vocabulary = tiny();
    let text = "a<|eot_id|>b<|end_of_text|>";
    assert_eq!(vocabulary.encode(text), Ok(vec![64, 447, 65, 441]));
    let plain = vocabulary.encode_plain(text).expect("ids");
    assert!(!plain.iter().any(|&id| vocabulary.is_special(id)), "{plain:?}");
    assert_eq!(vocabulary.decode(&plain), text);
    // A token that is added, but not special, is a token in every text.
    let vocabulary = Vocabulary::from_gguf(&small("smollm")).expect("a tokenizer");
    assert_eq!(vocabulary.encode("<tag><|im_end|>"), Ok(vec![133, 129]));
    let plain = vocabulary.encode_plain("<tag><|im_end|>").expect("ids");
    assert_eq!((plain[0], plain.len()), (133, 1 + "<|im_end|>".len()));
    assert_eq!((vocabulary.is_special(133), vocabulary.stops()), (false, &[129][..]));
    // Some files call every token normal.
    let normal = GgufTokenizer { types: Vec::new(), ..small("smollm") };
    let normal = Vocabulary::from_gguf(&normal).expect("a tokenizer");
    assert_eq!([128, 129, 133].map(|id| normal.is_special(id)), [true, true, false]);
    // Vocabularies of characters and bytes have no special tokens.
    assert_eq!(Vocabulary::of("ab").encode_plain("ba"), Ok(vec![1, 0]));
    assert_eq!((Vocabulary::bytes().special("a"), Vocabulary::bytes().bos()), (None, None));
}

// --- chats -----------------------------------------------------------------------------------------

fn messages(of: &[(&str, &str)]) -> Vec<Message> {
    let role =
        |name: &str| [Role::System, Role::User, Role::Assistant].into_iter().find(|role| role.name() == name);
    let message = |&(name, content): &(&str, &str)| Message {
        role: role(name).unwrap_or_else(|| panic!("the role {name}")),
        content: content.into(),
    };
    of.iter().map(message).collect()
}

#[test]
fn a_chat_of_2b4t_has_the_ids_of_other_programs() {
    let vocabulary = tiny();
    let form = Form::of(&vocabulary, true).expect("its tokens are there");
    assert_eq!(form, Form::Bitnet);
    let cases = cases("tokenizer-chat.json");
    assert_eq!(cases.len(), 6);
    let mut forged = 0;
    for case in &cases {
        let said = case["messages"].as_array().expect("a list");
        let said: Vec<(&str, &str)> = said
            .iter()
            .map(|one| (one["role"].as_str().unwrap(), one["content"].as_str().unwrap()))
            .collect();
        let answer = case["add_generation_prompt"].as_bool().expect("true or false");
        let messages = messages(&said);
        assert_eq!(form.text(&messages, answer), text(case));
        assert_eq!(vocabulary.encode(text(case)), Ok(ids(case)));
        let ours = form.ids(&vocabulary, &messages, answer).expect("ids");
        assert_eq!(vocabulary.decode(&ours), text(case));
        let ends = |ids: &[u32]| ids.iter().filter(|&&id| id == 447).count();
        assert_eq!(ends(&ours), messages.len(), "each message has one end");
        // Other programs take the mark in a message for the end of the message.
        match said.iter().any(|(_, content)| content.contains("<|")) {
            true => forged += ends(&ids(case)) - messages.len(),
            false => assert_eq!(ours, ids(case)),
        }
    }
    assert_eq!(forged, 1);
}

#[test]
fn a_chat_in_chatml_is_that_of_smollm2() {
    let vocabulary = Vocabulary::from_gguf(&small("smollm")).expect("a tokenizer");
    let form = Form::of(&vocabulary, false).expect("its tokens are there");
    assert_eq!(form, Form::ChatMl);
    let chat = messages(&[("system", "Be brief."), ("user", " Hi<|im_end|>"), ("assistant", "Hi!")]);
    let text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi<|im_end|><|im_end|>\n\
                <|im_start|>assistant\nHi!<|im_end|>\n";
    assert_eq!(form.text(&chat, false), text);
    let ids = form.ids(&vocabulary, &chat, true).expect("ids");
    assert_eq!(vocabulary.decode(&ids), format!("{text}<|im_start|>assistant\n"));
    assert_eq!([128, 129].map(|mark| ids.iter().filter(|&&id| id == mark).count()), [4, 3]);
    let silent = form.text(&messages(&[("user", "Hi")]), true);
    assert_eq!(
        silent,
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n\
         <|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    );
    for (vocabulary, bitnet, said) in [
        (
            &vocabulary,
            true,
            "no token <|begin_of_text|>, so the network was not taught to answer in a chat of the form BitNet",
        ),
        (
            &tiny(),
            false,
            "no token <|im_start|>, so the network was not taught to answer in a chat of the form ChatML",
        ),
        (&Vocabulary::bytes(), true, "no token <|begin_of_text|>"),
    ] {
        let error = Form::of(vocabulary, bitnet).expect_err(said);
        assert!(error.contains(said), "{error}");
    }
}

// --- bad files -------------------------------------------------------------------------------------

#[test]
fn a_file_that_is_not_followed_is_refused_by_name() {
    let good: Value =
        serde_json::from_slice(&bytes(golden("hf-autobitlinear/tokenizer.json"))).expect("JSON");
    let set = |pointer: &str, value: Value| {
        let mut file = good.clone();
        *file.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        Vocabulary::from_tokenizer_json(file.to_string().as_bytes(), None).expect_err(pointer)
    };
    for (pointer, value, said) in [
        ("/model/type", json!("Unigram"), "the tokenizer is a model Unigram, expected BPE"),
        ("/normalizer", json!({"type": "NFC"}), "the normalizer NFC, expected none"),
        ("/model/byte_fallback", json!(true), "byte_fallback"),
        ("/model/end_of_word_suffix", json!("</w>"), "end_of_word_suffix"),
        ("/model/merges/0", json!("Ġt"), "the merge \"Ġt\", expected two tokens"),
        (
            "/model/merges/0",
            json!("Ġ \u{2581}"),
            "the merge 0 of the tokenizer has \"\u{2581}\", which is no token",
        ),
        ("/model/merges/1", json!("Ġ t"), "of the tokens 220 and 83, is also the merge 0"),
        (
            "/model/merges/1",
            json!("t t"),
            "the merge 1 of the tokenizer, of the tokens 83 and 83, makes \"tt\", which is no token",
        ),
        ("/model/vocab/!", json!(1), "two tokens 1"),
        ("/model/vocab/3650", json!(5000), "has 448 tokens at most, but \"3650\" is the token 5000"),
        ("/model/vocab/3650", json!(-1), "tokenizer.json is no file of a tokenizer"),
        ("/added_tokens/0/id", json!(0), "two tokens 0"),
        ("/added_tokens/0/lstrip", json!(true), "\"<|begin_of_text|>\" only beside certain characters"),
        ("/pre_tokenizer", json!(null), "no pre-tokenizer"),
        ("/pre_tokenizer", json!({"type": "Metaspace"}), "the pre-tokenizer Metaspace, expected"),
        (
            "/pre_tokenizer/pretokenizers/0/behavior",
            json!("Removed"),
            "the pre-tokenizer Split with another behavior",
        ),
        ("/pre_tokenizer/pretokenizers/0/pattern/Regex", json!("("), "which is no regular expression"),
        ("/pre_tokenizer/pretokenizers/1/add_prefix_space", json!(true), "add_prefix_space"),
        ("/pre_tokenizer/pretokenizers/1", json!({"type": "Digits"}), "no pre-tokenizer ByteLevel"),
        ("/post_processor", json!({"type": "BertProcessing"}), "the post-processor BertProcessing"),
        ("/post_processor/processors/1/single", json!([]), "puts tokens around a text"),
    ] {
        let error = set(pointer, value);
        assert!(error.contains(said), "{pointer}: {error}");
    }
    let config = |text: &str| {
        Vocabulary::from_tokenizer_json(good.to_string().as_bytes(), Some(text.as_bytes())).expect_err(text)
    };
    assert!(config("[").contains("tokenizer_config.json is no file of a tokenizer"));
    assert!(config(r#"{"eos_token": "<eos>"}"#).contains("a text with \"<eos>\", which is no token"));
}

#[test]
fn metadata_that_is_not_followed_is_refused_by_name() {
    let refused = |change: fn(&mut GgufTokenizer)| {
        let mut metadata = small("gpt-2");
        change(&mut metadata);
        Vocabulary::from_gguf(&metadata).expect_err("refused")
    };
    for (error, said) in [
        (
            refused(|file| file.model = "llama".into()),
            "the tokenizer is a model llama (tokenizer.ggml.model), expected gpt2",
        ),
        (
            refused(|file| file.pre = Some("qwen2".into())),
            "as by qwen2 (tokenizer.ggml.pre), expected llama-bpe, smollm, gpt-2",
        ),
        (refused(|file| file.types.truncate(3)), "has 134 tokens, but 3 types"),
        (refused(|file| file.types[5] = 6), "the token 5 of the tokenizer has the type 6, expected 1 to 5"),
        (refused(|file| file.tokens[130] = "\u{2581}a".into()), "and '\u{2581}' in it stands for no byte"),
        (
            refused(|file| file.tokens[130] = "ab".into()),
            "the tokens 130 and 131 of the tokenizer are both \"ab\"",
        ),
        (refused(|file| file.tokens[130].clear()), "the token 130 of the tokenizer is empty"),
        (refused(|file| file.merges[0] = "12".into()), "the merge \"12\", expected two tokens"),
        (refused(|file| file.bos = Some(134)), "has 134 tokens, but its bos is the token 134"),
        (refused(|file| (file.bos, file.add_bos) = (None, Some(true))), "does not say which (bos)"),
        (
            refused(|file| *file = GgufTokenizer { model: "gpt2".into(), ..GgufTokenizer::default() }),
            "has no tokens",
        ),
    ] {
        assert!(error.contains(said), "{error}");
    }
}

// --- real vocabularies -----------------------------------------------------------------------------

/// The vocabularies of Llama 3 and GPT-2 give every text of llama.cpp the ids that are beside it.
#[test]
fn real_vocabularies_give_the_ids_of_llama_cpp() {
    const VARIABLE: &str = "STERNA_LLAMA_VOCABULARY";
    let Some(folder) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        eprintln!("skipped: {VARIABLE} does not name a folder with the vocabularies of llama.cpp");
        return;
    };
    for (name, tokens, bos) in [("llama-bpe", 128_256, Some(128_000)), ("gpt-2", 50_257, None)] {
        let file = folder.join(format!("ggml-vocab-{name}.gguf"));
        let metadata = metadata(&file);
        let vocabulary = Vocabulary::from_gguf(&metadata).expect("a tokenizer");
        assert_eq!((vocabulary.len(), vocabulary.bos()), (tokens, bos), "{name}");
        let [texts, expected] = ["inp", "out"].map(|end| {
            String::from_utf8(bytes(folder.join(format!("ggml-vocab-{name}.gguf.{end}")))).expect("UTF-8")
        });
        let texts: Vec<&str> = texts.split_terminator("\n__ggml_vocab_test__\n").collect();
        let expected: Vec<&str> = expected.lines().collect();
        assert!(texts.len() > 40 && texts.len() == expected.len(), "{} and {}", texts.len(), expected.len());
        for (text, expected) in texts.into_iter().zip(expected) {
            let expected: Vec<u32> =
                expected.split_whitespace().map(|id| id.parse().expect("an id")).collect();
            assert_eq!(vocabulary.encode(text), Ok(expected), "{name}: {text:?}");
        }
        let text = random_text(3, 1 << 20);
        assert!(vocabulary.decode(&vocabulary.encode(&text).expect("ids")) == text, "{name}");
        let again = Vocabulary::from_gguf(&vocabulary.to_gguf().expect("a name")).expect("a tokenizer");
        let json = again.to_tokenizer_json().expect("a file");
        let config = again.to_tokenizer_config_json();
        assert_eq!(
            Vocabulary::from_tokenizer_json(&json, config.as_deref()).as_ref(),
            Ok(&vocabulary),
            "{name}"
        );
    }
}
