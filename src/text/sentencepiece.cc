// SentencePiece's models behind tokenizer_kind.h.
//
// SentencePiece writes a space as "▁" (U+2581), so a "▁" that is in the text itself would come back as a space. Before
// encoding it is therefore replaced by U+E581 (private use), which no vocabulary holds and which byte fallback spells
// as the byte tokens EE 96 81; those are then patched to E2 96 81, the bytes of U+2581, and decoding gives the "▁".
#include "text/sentencepiece_guard.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#include "base/memory.h"
#include "text/sentencepiece.h"
}

namespace {

using sentencepiece::SentencePieceProcessor;

const std::string kSpace = "\xE2\x96\x81";   // U+2581, the piece of a space
const std::string kStandIn = "\xEE\x96\x81"; // U+E581, the stand-in of a literal U+2581
const std::size_t kSymbolBytes = 3;          // of both in UTF-8

struct model {
    SentencePieceProcessor processor;
    int32_t byte_ids[3];   // of 0xEE 0x96 0x81
    int32_t space_byte_id; // of 0xE2
    bool escapes;          // the stand-in can be used: all bytes are tokens and it is in no piece
};

bool begins_with_space(const std::string &piece) {
    return piece.compare(0, kSymbolBytes, kSpace) == 0;
}

// A "▁" inside a piece stands for one byte of text too. (The record scripts' tables would count 3, but in their
// vocabularies no piece has one; ours have, for indentation.)
std::string text_of(const std::string &piece) {
    std::string text;
    for (std::size_t i = 0; i < piece.size();) {
        bool space = piece.compare(i, kSymbolBytes, kSpace) == 0;
        text += space ? ' ' : piece[i];
        i += space ? kSymbolBytes : 1;
    }
    return text;
}

int32_t byte_token(const SentencePieceProcessor &p, int byte) {
    char name[8];
    snprintf(name, sizeof name, "<0x%02X>", byte);
    int32_t id = p.PieceToId(name);
    return p.IsByte(id) ? id : -1;
}

bool is_boundary(const SentencePieceProcessor &p, int id) {
    return p.IsControl(id) || p.IsUnknown(id) || p.IsUnused(id);
}

// Whether a space in front of a text goes: the model says so in options that only its own decoder shows.
bool drops_leading_space(const SentencePieceProcessor &p) {
    for (int id = 0; id < p.GetPieceSize(); id++) {
        const std::string &piece = p.IdToPiece(id);
        if (is_boundary(p, id) || p.IsByte(id) || !begins_with_space(piece)) continue;
        std::string text;
        return p.Decode(std::vector<int>{id}, &text).ok() && text.size() < text_of(piece).size();
    }
    return false;
}

void describe(const SentencePieceProcessor &p, tokenizer *t) {
    bool drops = drops_leading_space(p);
    for (int id = 0; id < p.GetPieceSize(); id++) {
        const std::string &piece = p.IdToPiece(id);
        if (is_boundary(p, id)) {
            tokenizer_add_boundary(t, piece.c_str());
        } else if (p.IsByte(id)) {
            char byte = (char)std::stoi(piece.substr(1, 4), nullptr, 16); // "<0x0A>"
            tokenizer_add_token(t, piece.c_str(), &byte, 1, false);
        } else {
            std::string text = text_of(piece);
            tokenizer_add_token(t, piece.c_str(), text.data(), text.size(), drops && begins_with_space(piece));
        }
    }
    t->bos = p.bos_id();
    tokenizer_add_end(t, p.eos_id());
}

void find_escapes(model *m) {
    const SentencePieceProcessor &p = m->processor;
    m->escapes = true;
    for (int i = 0; i < 3; i++) {
        m->byte_ids[i] = byte_token(p, (unsigned char)kStandIn[i]);
        m->escapes = m->escapes && m->byte_ids[i] >= 0;
    }
    m->space_byte_id = byte_token(p, (unsigned char)kSpace[0]);
    m->escapes = m->escapes && m->space_byte_id >= 0;
    for (int id = 0; m->escapes && id < p.GetPieceSize(); id++)
        m->escapes = p.IdToPiece(id).find(kStandIn) == std::string::npos;
}

status parse_model(tokenizer **out, const void *bytes, size_t count, const char *where) {
    auto m = std::make_unique<model>();
    auto loaded =
        count == 0 ? sentencepiece::util::Status(sentencepiece::util::StatusCode::kInternal, "it is empty")
                   : m->processor.LoadFromSerializedProto(absl::string_view(static_cast<const char *>(bytes), count));
    if (!loaded.ok() || m->processor.GetPieceSize() <= 0)
        return fail("%s: expected a SentencePiece model, found %zu bytes that are none (%s)", where, count,
                    loaded.ok() ? "no pieces" : loaded.error_message());
    find_escapes(m.get());
    std::unique_ptr<tokenizer, void (*)(tokenizer *)> t(tokenizer_create(&sentencepiece_kind, nullptr, bytes, count),
                                                        tokenizer_close);
    describe(m->processor, t.get());
    t->own = m.release();
    *out = t.release();
    return STATUS_OK;
}

// Replaces every U+2581 by the stand-in; `literal` says of each stand-in in the result whether it was a U+2581.
std::string hide_literal_spaces(const char *text, size_t bytes, std::vector<bool> *literal) {
    std::string hidden(text, bytes);
    for (std::size_t i = 0; (i = hidden.find("\x96\x81", i)) != std::string::npos; i += 2) {
        char *first = i > 0 ? &hidden[i - 1] : nullptr;
        if (!first || (*first != kSpace[0] && *first != kStandIn[0])) continue;
        literal->push_back(*first == kSpace[0]);
        *first = kStandIn[0];
    }
    return hidden;
}

void show_literal_spaces(const model *m, const std::vector<bool> &literal, std::vector<int> *ids) {
    std::size_t seen = 0;
    for (std::size_t i = 0; i + 2 < ids->size() && seen < literal.size(); i++) {
        int *id = &(*ids)[i];
        if (id[0] != m->byte_ids[0] || id[1] != m->byte_ids[1] || id[2] != m->byte_ids[2]) continue;
        if (literal[seen++]) id[0] = m->space_byte_id;
        i += 2;
    }
}

status encode_text(const model *m, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    std::vector<int> encoded;
    std::vector<bool> literal;
    sentencepiece::util::Status s;
    if (m->escapes && memmem(text, bytes, kSpace.data(), kSymbolBytes)) {
        s = m->processor.Encode(hide_literal_spaces(text, bytes, &literal), &encoded);
        show_literal_spaces(m, literal, &encoded);
    } else {
        s = m->processor.Encode(absl::string_view(text, bytes), &encoded);
    }
    if (!s.ok()) return fail("tokenizer: cannot encode %zu bytes of text: %s", bytes, s.error_message());
    *count = encoded.size();
    *ids = static_cast<int32_t *>(xmalloc((encoded.size() + 1) * sizeof **ids));
    std::copy(encoded.begin(), encoded.end(), *ids);
    return STATUS_OK;
}

} // namespace

// ---- the kind ----

static status parse(tokenizer **out, const void *bytes, size_t count, const char *where) {
    return guarded(where, [&] { return parse_model(out, bytes, count, where); });
}

static status encode(const tokenizer *t, const char *text, size_t bytes, int32_t **ids, size_t *count) {
    return guarded("tokenizer",
                   [&] { return encode_text(static_cast<const model *>(t->own), text, bytes, ids, count); });
}

static void release(void *own) {
    delete static_cast<model *>(own);
}

extern "C" const tokenizer_kind sentencepiece_kind = {"SentencePiece", nullptr, parse, encode, nullptr, release};
