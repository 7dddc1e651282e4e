// Training a SentencePiece model (sentencepiece.h).
#include "text/sentencepiece_guard.h"

#include <sentencepiece_trainer.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

extern "C" {
#include "base/child.h"
#include "base/memory.h"
#include "text/sentencepiece.h"
}

namespace {

// <unk>, <s>, </s>; "\n", "\n\n" and "\t" (see training_options); a token for each byte.
const int kFixedPieces = 3 + 3 + 256;
// The trainer counts positions within a word in 16 bits and ends its process beyond; text without spaces is one word.
const std::size_t kLongestWord = 4096;
const double kCoverage = 0.9995; // of the text's characters, by pieces of one character
const double kCharactersPerMerge = 8;

struct request {
    std::vector<std::string> texts;
    int pieces;
    uint64_t seed;
};

class SourceIterator : public sentencepiece::SentenceIterator {
  public:
    explicit SourceIterator(const std::vector<std::string> &texts) : texts_(texts) {}
    bool done() const override { return at_ == texts_.size(); }
    const std::string &value() const override { return texts_[at_]; }
    sentencepiece::util::Status status() const override { return sentencepiece::util::Status(); }
    void Next() override { at_++; }

  private:
    const std::vector<std::string> &texts_;
    std::size_t at_ = 0;
};

// Where to cut a text that begins with a word of more than kLongestWord bytes: behind a line's end if it has one.
std::size_t cut_of_word(const char *text) {
    const void *line_end = memrchr(text, '\n', kLongestWord);
    if (line_end) return (std::size_t)(static_cast<const char *>(line_end) - text) + 1;
    std::size_t cut = kLongestWord;
    while (cut > 1 && ((unsigned char)text[cut] & 0xC0) == 0x80) cut--;
    return cut;
}

// The text, cut within words that are too long.
void add_text(std::vector<std::string> *texts, const char *text, std::size_t bytes) {
    std::size_t begin = 0, word = 0;
    while (word < bytes) {
        const void *space = memchr(text + word, ' ', bytes - word);
        std::size_t end = space ? (std::size_t)(static_cast<const char *>(space) - text) : bytes;
        for (; end - word > kLongestWord; begin = word) {
            word += cut_of_word(text + word);
            texts->emplace_back(text + begin, word - begin);
        }
        word = end + 1;
    }
    if (begin < bytes) texts->emplace_back(text + begin, bytes - begin);
}

std::size_t character_bytes(const std::string &text, std::size_t at) {
    int length = utf8_character(text.data() + at, text.size() - at);
    return length > 0 ? (std::size_t)length : 1;
}

using counted = std::pair<std::size_t, std::string>; // how often a character occurs, and its bytes

// The most frequent first; equally frequent ones by their bytes.
std::vector<counted> count_characters(const std::vector<std::string> &texts) {
    std::unordered_map<std::string, std::size_t> found;
    for (const std::string &text : texts)
        for (std::size_t at = 0, bytes; at < text.size(); at += bytes) {
            bytes = character_bytes(text, at);
            found[text.substr(at, bytes)]++;
        }
    std::vector<counted> counts;
    for (const auto &entry : found) counts.emplace_back(entry.second, entry.first);
    std::sort(counts.begin(), counts.end(), [](const counted &a, const counted &b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    return counts;
}

// A line's end is never merged with anything.
void hide_others(std::vector<std::string> *texts, const std::unordered_set<std::string> &kept) {
    for (std::string &text : *texts) {
        std::string shown;
        for (std::size_t at = 0, bytes; at < text.size(); at += bytes) {
            bytes = character_bytes(text, at);
            std::string character = text.substr(at, bytes);
            shown += kept.count(character) ? character : "\n";
        }
        text = shown;
    }
}

// Of the pieces that are free a quarter at least is for merges: where the frequent characters are too many for that, the
// rarer ones are hidden from the trainer and will be spelled in bytes. And a merge has to pay for itself: the words of a
// small text would become a piece each. Returns the number of pieces that the text is worth.
int prepare(std::vector<std::string> *texts, int pieces) {
    std::vector<counted> counts = count_characters(*texts);
    double all = 0, covered = 0;
    for (const counted &c : counts) all += (double)c.first;
    std::unordered_set<std::string> kept;
    std::size_t most = (std::size_t)(pieces - kFixedPieces) * 3 / 4;
    for (std::size_t i = 0; i < counts.size() && i < most && covered < kCoverage * all; i++) {
        covered += (double)counts[i].first;
        kept.insert(counts[i].second);
    }
    if (covered < kCoverage * all) hide_others(texts, kept);
    double useful = kFixedPieces + 1 + (double)kept.size() + all / kCharactersPerMerge;
    return useful < pieces ? (int)useful : pieces;
}

// add_dummy_prefix makes the byte count exact: after BOS a leading "▁" counts nothing, and every text gets one, so that "▁"
// is a piece even where the text has no space.
// "\n", "\n\n" and "\t" are symbols of their own because the trainer never merges them into pieces, and a byte token
// would stand where the model has to see a line's end.
std::unordered_map<std::string, std::string> training_options(int pieces) {
    return {{"model_type", "bpe"},
            {"vocab_size", std::to_string(pieces)},
            {"hard_vocab_limit", "false"},
            {"byte_fallback", "true"},
            {"character_coverage", std::to_string(kCoverage)},
            {"required_chars", "\xE2\x96\x81"},
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

status train(request *r, uint8_t **bytes, size_t *count) {
    int pieces = prepare(&r->texts, r->pieces);
    sentencepiece::SetRandomGeneratorSeed((unsigned)r->seed);
    SourceIterator source(r->texts);
    std::string model;
    auto trained = sentencepiece::SentencePieceTrainer::Train(training_options(pieces), &source, &model);
    if (!trained.ok()) return fail("tokenizer: SentencePiece cannot train it: %s", trained.error_message());
    *count = model.size();
    *bytes = static_cast<uint8_t *>(xmalloc(model.size()));
    memcpy(*bytes, model.data(), model.size());
    return STATUS_OK;
}

status train_in_child(void *context, uint8_t **bytes, size_t *count) {
    return guarded("tokenizer", [&] { return train(static_cast<request *>(context), bytes, count); });
}

status train_on(tokenizer **out, int pieces, text_source next, void *context, uint64_t seed) {
    request r = {{}, pieces, seed};
    const char *text;
    size_t bytes;
    while (next(context, &text, &bytes)) add_text(&r.texts, text, bytes);
    if (r.texts.empty()) return fail("tokenizer: expected text to train it on, found none");
    uint8_t *model;
    size_t count;
    TRY(child_run("tokenizer", train_in_child, &r, &model, &count));
    status s = tokenizer_parse(out, model, count, "tokenizer");
    free(model);
    return s;
}

} // namespace

extern "C" status sentencepiece_train(tokenizer **out, int pieces, text_source next, void *context, uint64_t seed) {
    if (pieces < SENTENCEPIECE_LEAST_PIECES || pieces > SENTENCEPIECE_MOST_PIECES)
        return fail("tokenizer: expected %d to %d pieces, found %d", SENTENCEPIECE_LEAST_PIECES,
                    SENTENCEPIECE_MOST_PIECES, pieces);
    return guarded("tokenizer", [&] { return train_on(out, pieces, next, context, seed); });
}
