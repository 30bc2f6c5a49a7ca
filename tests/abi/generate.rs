//! Generation and logits.

use std::ffi::c_void;
use std::ptr::{null, null_mut};

use kinglet::ffi::*;

use crate::calls::*;

pub const COVERS: &[&str] = &[
    "kinglet_generations_output",
    "kinglet_generations_read",
    "kinglet_logits_read",
    "kinglet_model_generate",
    "kinglet_model_generate_ids",
    "kinglet_model_logits",
];

type Options = kinglet_generate_options;

const IDS: [u32; 3] = [299, 295, 73];
const LENGTHS: [usize; 2] = [2, 1];

extern "C" fn stop_piece(_: *mut c_void, _: *const kinglet_generation_piece) -> u32 {
    0
}

#[test]
fn generating() {
    let (bert, writer, cancelled) = (load("bert"), load("generation/gpt2"), cancelled());
    let texts = [text("a small bird"), text("")];
    let mut generations = untouched();
    let (t, out) = (texts.as_ptr(), &raw mut generations);
    let f = "kinglet_model_generate";
    let generate = kinglet_model_generate;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| generate(null(), t, 1, null(), out, e));
        refused(f, "texts: is NULL", |e| generate(writer, null(), 1, null(), out, e));
        refused(f, "texts: is empty", |e| generate(writer, t, 0, null(), out, e));
        refused(f, "cannot be", |e| generate(writer, t, usize::MAX, null(), out, e));
        refused(f, "texts[1]: has no tokens", |e| generate(writer, t, 2, null(), out, e));
        refused(f, "generations: is NULL", |e| generate(writer, t, 1, null(), null_mut(), e));
        for (bad, says) in bad_strings() {
            refused(f, says, |e| generate(writer, &bad, 1, null(), out, e));
        }
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| generate(bert, t, 1, null(), out, e));
        check_options!(
            "kinglet_model_generate",
            kinglet_generate_options,
            generate_options(),
            [
                do_sample,
                early_stopping,
                has_seed,
                ignore_eos,
                logprobs,
                add_special_tokens,
                skip_special_tokens,
                grammar_kind
            ],
            |o, e| generate(writer, t, 1, o, out, e)
        );
        let default = generate_options();
        let (none, two) = (kinglet_ids { data: null(), count: 1 }, kinglet_ids { data: IDS.as_ptr(), count: 2 });
        let huge = kinglet_ids { data: IDS.as_ptr(), count: usize::MAX };
        let bad = bad_utf8();
        for (says, options) in [
            ("options.max_new_tokens", Options { max_new_tokens: 1 << 41, ..default }),
            ("max_new_tokens: is 0 and must be", Options { max_new_tokens: 0, ..default }),
            ("options.top_k", Options { top_k: KINGLET_UNSET - 1, ..default }),
            ("options.prompt_lookup_num_tokens", Options { prompt_lookup_num_tokens: 1 << 41, ..default }),
            ("max_matching_ngram_size: ", Options { max_matching_ngram_size: 2, ..default }),
            ("num_beams", Options { prompt_lookup_num_tokens: 4, num_beams: 2, ..default }),
            ("do_sample", Options { prompt_lookup_num_tokens: 4, do_sample: KINGLET_TRISTATE_YES, ..default }),
            ("options.forced_bos_token_id", Options { forced_bos_token_id: 1 << 32, ..default }),
            ("decoder_start_token_id: 300", Options { decoder_start_token_id: 300, ..default }),
            ("temperature: ", Options { temperature: 0.5, ..default }),
            ("num_beams: ", Options { num_beams: 65, ..default }),
            ("options.stop_strings: is NULL", Options { stop_string_count: 1, ..default }),
            ("options.stop_strings[0]", Options { stop_string_count: 1, stop_strings: &bad, ..default }),
            ("options.bad_words_ids: is NULL", Options { bad_word_count: 1, ..default }),
            ("options.bad_words_ids: is NULL", Options { bad_word_count: 1, bad_words_ids: &none, ..default }),
            ("options.encoder_no_repeat_ngram_size", Options { encoder_no_repeat_ngram_size: 1 << 41, ..default }),
            ("options.exponential_decay_start", Options { exponential_decay_start: 3, ..default }),
            ("exponential_decay_length_penalty: ", Options { exponential_decay_factor: f32::NAN, ..default }),
            ("encoder_repetition_penalty: ", Options { encoder_repetition_penalty: -1.0, ..default }),
            ("options.sequence_bias_ids: is NULL", Options { sequence_bias_count: 1, ..default }),
            ("options.sequence_bias: is NULL", Options { sequence_bias_count: 1, sequence_bias_ids: &two, ..default }),
            ("options.decoder_input_ids: is NULL", Options { decoder_input_count: 1, ..default }),
            ("decoder_input_ids: ", Options { decoder_input_count: 1, decoder_input_ids: &two, ..default }),
            ("options.decoder_input_texts: is NULL", Options { decoder_input_text_count: 1, ..default }),
            (
                "options.decoder_input_texts[0]",
                Options { decoder_input_text_count: 1, decoder_input_texts: &bad, ..default },
            ),
            ("options.suppress_tokens: is NULL", Options { suppress_tokens: none, ..default }),
            ("options.suppress_tokens: a size", Options { suppress_tokens: huge, ..default }),
            ("options.eos_token_ids: is NULL", Options { eos_token_ids: none, ..default }),
            ("options.forced_eos_token_ids: is NULL", Options { forced_eos_token_ids: none, ..default }),
            ("options.tool_choice: is not UTF-8", Options { tool_choice: bad, ..default }),
            ("tool_choice: is for chats", Options { tool_choice: text("required"), ..default }),
            ("options.grammar: is not UTF-8", Options { grammar_kind: 2, grammar: bad, ..default }),
        ] {
            refused(f, says, |e| generate(writer, t, 1, &options, out, e));
        }
        for options in
            [Options { cancellation: cancelled, ..default }, Options { on_piece: Some(stop_piece), ..default }]
        {
            refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| generate(writer, t, 1, &options, out, e));
        }
        assert_eq!(generations.addr(), OUT);
        from_ids(writer, bert, Options { max_new_tokens: 3, ignore_eos: 1, suppress_tokens: two, ..default });
        kinglet_cancellation_free(cancelled);
        [bert, writer].into_iter().for_each(|model| kinglet_model_free(model));
    }
}

fn from_ids(writer: *const kinglet_model, bert: *const kinglet_model, options: Options) {
    let mut generations = untouched();
    let (i, l, out) = (IDS.as_ptr(), LENGTHS.as_ptr(), &raw mut generations);
    let f = "kinglet_model_generate_ids";
    let generate_ids = kinglet_model_generate_ids;
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        refused(f, "model: is NULL", |e| generate_ids(null(), i, 3, l, 2, null(), out, e));
        refused(f, "ids: is NULL", |e| generate_ids(writer, null(), 3, l, 2, null(), out, e));
        refused(f, "ids: is empty", |e| generate_ids(writer, i, 0, l, 2, null(), out, e));
        refused(f, "lengths: is NULL", |e| generate_ids(writer, i, 3, null(), 2, null(), out, e));
        refused(f, "lengths: is empty", |e| generate_ids(writer, i, 3, l, 0, null(), out, e));
        refused(f, "lengths: they add up to 2", |e| generate_ids(writer, i, 3, l, 1, null(), out, e));
        refused(f, "300", |e| generate_ids(writer, [300].as_ptr(), 1, [1].as_ptr(), 1, null(), out, e));
        refused(f, "generations: is NULL", |e| generate_ids(writer, i, 3, l, 2, null(), null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| {
            generate_ids(bert, i, 3, l, 2, null(), out, e)
        });
        assert_eq!(generations.addr(), OUT);
        ok(|e| generate_ids(writer, i, 3, l, 2, &options, out, e));
        let view = check_filled!(
            "kinglet_generations_read",
            kinglet_generations_view,
            generations,
            "generations",
            |h, v, e| kinglet_generations_read(h, v, e)
        );
        assert_eq!((view.count, *view.input_token_counts.add(1)), (2, 1));
        let f = "kinglet_generations_output";
        let mut output = sized!(kinglet_generation_output);
        refused(f, "index: 2", |e| kinglet_generations_output(generations, 2, 0, &mut output, e));
        refused(f, "sequence: 1", |e| kinglet_generations_output(generations, 0, 1, &mut output, e));
        assert!(output.tokens.is_null(), "a failed call touched its output");
        let output = check_filled!(
            "kinglet_generations_output",
            kinglet_generation_output,
            generations,
            "generations",
            |h, v, e| kinglet_generations_output(h, 1, 0, v, e)
        );
        let finished = KINGLET_FINISH_REASON_LENGTH;
        assert_eq!((output.output_count, output.token_count, output.finish_reason), (1, 3, finished));
        assert_eq!(read(kinglet_generations_text(generations, 1)), read(output.text));
        assert_eq!(kinglet_generations_text(generations, 2).size, 0);
        kinglet_generations_free(generations);
    }
}

#[test]
fn logits() {
    let (bert, writer, translator) = (load("bert"), load("generation/gpt2"), load("generation/t5-gated"));
    let cancelled = cancelled();
    let mut logits = untouched();
    let f = "kinglet_model_logits";
    let (i, out) = (IDS.as_ptr(), &raw mut logits);
    // SAFETY: what is wrong with each call is what it tests; the rest is valid.
    unsafe {
        let call = |m, i, n, d, k, out, e| kinglet_model_logits(m, i, n, d, k, null(), out, e);
        refused(f, "model: is NULL", |e| call(null(), i, 3, null(), 0, out, e));
        refused(f, "ids: is NULL", |e| call(writer, null(), 3, null(), 0, out, e));
        refused(f, "ids: is empty", |e| call(writer, i, 0, null(), 0, out, e));
        refused(f, "decoder_ids: is empty", |e| call(translator, i, 3, i, 0, out, e));
        refused(f, "decoder_ids: required", |e| call(translator, i, 3, null(), 0, out, e));
        refused(f, "decoder_ids: the model has no encoder", |e| call(writer, i, 3, i, 3, out, e));
        refused(f, "300", |e| call(writer, [300].as_ptr(), 1, null(), 0, out, e));
        refused(f, "logits: is NULL", |e| call(writer, i, 3, null(), 0, null_mut(), e));
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "generates no text", &mut |e| call(bert, i, 3, null(), 0, out, e));
        let default = sized!(kinglet_logits_options);
        let with = |o, e| kinglet_model_logits(writer, i, 3, null(), 0, o, out, e);
        check_options!("kinglet_model_logits", kinglet_logits_options, default, [stepwise], with);
        let options = kinglet_logits_options { cancellation: cancelled, ..default };
        refused_with(KINGLET_STATUS_CANCELLED, f, "cancelled", &mut |e| with(&options, e));
        let options = kinglet_logits_options { reserved: 1, ..default };
        refused_with(KINGLET_STATUS_UNSUPPORTED, f, "reserved: is 1", &mut |e| with(&options, e));
        assert_eq!(logits.addr(), OUT);
        let options = kinglet_logits_options { stepwise: 1, ..default };
        ok(|e| kinglet_model_logits(translator, i, 3, i, 2, &options, out, e));
        let view = check_filled!("kinglet_logits_read", kinglet_logits_view, logits, "logits", |h, v, e| {
            kinglet_logits_read(h, v, e)
        });
        assert_eq!((view.token_count, view.vocabulary_size), (2, 300));
        kinglet_logits_free(logits);
        kinglet_cancellation_free(cancelled);
        [bert, writer, translator].into_iter().for_each(|model| kinglet_model_free(model));
    }
}
