// SentencePiece behind the C face of tokenizer.h.
//
// SentencePiece writes a space as "▁" (U+2581), so a "▁" that is in the text itself would come back as a space. Before
// encoding it is therefore replaced by U+E581 (private use), which no vocabulary holds and which byte fallback spells
// as the byte tokens EE 96 81; those are then patched to E2 96 81, the bytes of U+2581, and decoding gives the "▁".
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

extern "C" {
#include "base/file.h"
#include "base/memory.h"
#include "text/tokenizer.h"
}

namespace {
const std::string kSpace = "\xE2\x96\x81";   // U+2581, the piece of a space
const std::string kStandIn = "\xEE\x96\x81"; // U+E581, the stand-in of a literal U+2581
const std::size_t kSymbolBytes = 3;          // of both in UTF-8
enum { LEAST_VOCABULARY = 300, LARGEST_VOCABULARY = 65536 };
} // namespace

struct tokenizer {
    sentencepiece::SentencePieceProcessor processor;
    std::string serialized;
    std::vector<int> length;    // bytes of text that a piece stands for, without a leading space
    std::vector<bool> space;    // the piece begins with "▁"
    std::vector<bool> boundary; // control, unknown or unused
    int32_t byte_ids[3];        // of 0xEE 0x96 0x81
    int32_t space_byte_id;      // of 0xE2
    bool escapes;               // the stand-in can be used: all bytes are tokens and it is in no piece
};

// A "▁" inside a piece stands for one byte of text too. (The record scripts' tables would count 3, but in their
// vocabularies no piece has one; ours have, for indentation.)
static int piece_text_bytes(const std::string &piece) {
    int bytes = 0;
    for (std::size_t i = 0; i < piece.size(); bytes++)
        i += piece.compare(i, kSymbolBytes, kSpace) == 0 ? kSymbolBytes : 1;
    return bytes;
}

static int32_t byte_token(const sentencepiece::SentencePieceProcessor &p, int byte) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", byte);
    int32_t id = p.PieceToId(name);
    return p.IsByte(id) ? id : -1;
}

static void describe_pieces(tokenizer *t) {
    const auto &p = t->processor;
    bool stand_in_free = true;
    for (int id = 0; id < p.GetPieceSize(); id++) {
        const std::string &piece = p.IdToPiece(id);
        bool boundary = p.IsControl(id) || p.IsUnknown(id) || p.IsUnused(id);
        bool space = !boundary && !p.IsByte(id) && piece.compare(0, kSymbolBytes, kSpace) == 0;
        t->boundary.push_back(boundary);
        t->space.push_back(space);
        t->length.push_back(boundary ? 0 : p.IsByte(id) ? 1 : piece_text_bytes(piece) - (space ? 1 : 0));
        stand_in_free = stand_in_free && piece.find(kStandIn) == std::string::npos;
    }
    bool bytes = true;
    for (int i = 0; i < 3; i++) {
        t->byte_ids[i] = byte_token(p, (unsigned char)kStandIn[i]);
        bytes = bytes && t->byte_ids[i] >= 0;
    }
    t->space_byte_id = byte_token(p, (unsigned char)kSpace[0]);
    t->escapes = stand_in_free && bytes && t->space_byte_id >= 0;
}

extern "C" status tokenizer_parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    tokenizer *t = new tokenizer;
    t->serialized.assign(static_cast<const char *>(bytes), count);
    auto loaded = count == 0 ? sentencepiece::util::Status(sentencepiece::util::StatusCode::kInternal, "it is empty")
                             : t->processor.LoadFromSerializedProto(t->serialized);
    if (!loaded.ok() || t->processor.GetPieceSize() <= 0) {
        status s = fail("%s: expected a SentencePiece model, found %zu bytes that are none (%s)", where, count,
                        loaded.ok() ? "no pieces" : loaded.error_message());
        delete t;
        return s;
    }
    describe_pieces(t);
    *out = t;
    return STATUS_OK;
}

extern "C" status tokenizer_open(tokenizer **out, const char *path) {
    uint8_t *bytes;
    size_t count;
    TRY(file_read(path, TOKENIZER_MAX_BYTES, &bytes, &count));
    status s = tokenizer_parse(out, bytes, count, path);
    free(bytes);
    return s;
}

extern "C" void tokenizer_close(tokenizer *t) {
    delete t;
}

extern "C" int tokenizer_vocab_size(const tokenizer *t) {
    return t->processor.GetPieceSize();
}

extern "C" int tokenizer_bos(const tokenizer *t) {
    return t->processor.bos_id();
}

extern "C" void tokenizer_bytes(const tokenizer *t, const void **bytes, size_t *count) {
    *bytes = t->serialized.data();
    *count = t->serialized.size();
}

// Replaces every U+2581 by the stand-in; `literal` says of each stand-in in the result whether it was a U+2581.
static std::string hide_literal_spaces(const char *text, size_t bytes, std::vector<bool> *literal) {
    std::string hidden(text, bytes);
    for (std::size_t i = 0; (i = hidden.find("\x96\x81", i)) != std::string::npos; i += 2) {
        char *first = i > 0 ? &hidden[i - 1] : nullptr;
        if (!first || (*first != kSpace[0] && *first != kStandIn[0])) continue;
        literal->push_back(*first == kSpace[0]);
        *first = kStandIn[0];
    }
    return hidden;
}

static void show_literal_spaces(const tokenizer *t, const std::vector<bool> &literal, std::vector<int> *ids) {
    std::size_t seen = 0;
    for (std::size_t i = 0; i + 2 < ids->size() && seen < literal.size(); i++) {
        int *id = &(*ids)[i];
        if (id[0] != t->byte_ids[0] || id[1] != t->byte_ids[1] || id[2] != t->byte_ids[2]) continue;
        if (literal[seen++]) id[0] = t->space_byte_id;
        i += 2;
    }
}

extern "C" status tokenizer_encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    std::vector<int> encoded;
    std::vector<bool> literal;
    sentencepiece::util::Status s;
    if (t->escapes && memmem(text, bytes, kSpace.data(), kSymbolBytes)) {
        s = t->processor.Encode(hide_literal_spaces(text, bytes, &literal), &encoded);
        show_literal_spaces(t, literal, &encoded);
    } else {
        s = t->processor.Encode(absl::string_view(text, bytes), &encoded);
    }
    if (!s.ok()) return fail("tokenizer: cannot encode %zu bytes of text: %s", bytes, s.error_message());
    *count = encoded.size();
    *ids = static_cast<int32_t *>(xmalloc((encoded.size() + 1) * sizeof **ids));
    std::copy(encoded.begin(), encoded.end(), *ids);
    return STATUS_OK;
}

extern "C" status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **text, size_t *bytes) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= t->processor.GetPieceSize())
            return fail("tokenizer: expected token ids below %d, found %d at position %zu", t->processor.GetPieceSize(),
                        (int)ids[i], i);
    std::string decoded;
    auto s = t->processor.Decode(std::vector<int>(ids, ids + count), &decoded);
    if (!s.ok()) return fail("tokenizer: cannot decode %zu tokens: %s", count, s.error_message());
    *bytes = decoded.size();
    *text = static_cast<char *>(xmalloc(decoded.size() + 1));
    memcpy(*text, decoded.c_str(), decoded.size() + 1);
    return STATUS_OK;
}

extern "C" const char *tokenizer_piece(const tokenizer *t, int32_t id) {
    return t->processor.IdToPiece(id).c_str();
}

extern "C" int tokenizer_token_bytes(const tokenizer *t, int32_t id, int32_t prev) {
    bool after_boundary = prev < 0 || t->boundary[prev];
    return t->length[id] + (t->space[id] && !after_boundary ? 1 : 0);
}

// ---- training ----

namespace {
class SourceIterator : public sentencepiece::SentenceIterator {
  public:
    SourceIterator(tokenizer_source next, void *context) : next_(next), context_(context) { Next(); }
    bool done() const override { return done_; }
    const std::string &value() const override { return value_; }
    sentencepiece::util::Status status() const override { return sentencepiece::util::Status(); }
    void Next() override {
        const char *text;
        size_t bytes;
        done_ = !next_(context_, &text, &bytes);
        if (!done_) value_.assign(text, bytes);
    }

  private:
    tokenizer_source next_;
    void *context_;
    std::string value_;
    bool done_ = false;
};
} // namespace

// add_dummy_prefix makes the byte count exact: after BOS a leading "▁" counts nothing, and every text gets one.
// "\n", "\n\n" and "\t" are symbols of their own because the trainer never merges them into pieces, and a byte token
// would stand where the model has to see a line's end.
static std::unordered_map<std::string, std::string> training_options(int vocab_size) {
    return {{"model_type", "bpe"},
            {"vocab_size", std::to_string(vocab_size)},
            {"byte_fallback", "true"},
            {"character_coverage", "0.9995"},
            {"normalization_rule_name", "identity"},
            {"add_dummy_prefix", "true"},
            {"remove_extra_whitespaces", "false"},
            {"split_by_whitespace", "true"},
            {"allow_whitespace_only_pieces", "true"},
            {"split_digits", "true"},
            {"split_by_unicode_script", "false"}, // "()." is a piece: 4 % fewer tokens
            {"user_defined_symbols", "\n,\n\n,\t"},
            {"max_sentence_length", "1073741824"},
            {"shuffle_input_sentence", "false"},
            {"num_threads", "1"},
            {"unk_id", "0"},
            {"bos_id", "1"},
            {"eos_id", "2"},
            {"pad_id", "-1"},
            {"minloglevel", "3"}};
}

static status train(std::string *model, const char *where, int vocab_size, tokenizer_source next, void *context,
                    uint64_t seed) {
    if (vocab_size < LEAST_VOCABULARY || vocab_size > LARGEST_VOCABULARY)
        return fail("%s: expected a vocabulary of %d to %d pieces, found %d", where, LEAST_VOCABULARY,
                    LARGEST_VOCABULARY, vocab_size);
    sentencepiece::SetRandomGeneratorSeed((unsigned)seed);
    SourceIterator source(next, context);
    if (source.done()) return fail("%s: expected text to train the tokenizer on, found none", where);
    auto trained = sentencepiece::SentencePieceTrainer::Train(training_options(vocab_size), &source, model);
    if (!trained.ok())
        return fail("%s: the text is too small or too varied for a vocabulary of %d pieces; choose a smaller one or "
                    "bring more text (SentencePiece: %s)",
                    where, vocab_size, trained.error_message());
    return STATUS_OK;
}

extern "C" status tokenizer_train(const char *path, int vocab_size, tokenizer_source next, void *context,
                                  uint64_t seed) {
    std::string model;
    TRY(train(&model, path, vocab_size, next, context, seed));
    return file_write_whole(path, model.data(), model.size());
}

extern "C" status tokenizer_train_new(tokenizer **out, int vocab_size, tokenizer_source next, void *context,
                                      uint64_t seed) {
    std::string model;
    TRY(train(&model, "tokenizer", vocab_size, next, context, seed));
    return tokenizer_parse(out, model.data(), model.size(), "tokenizer");
}
