#include "text/word_patterns.h"

#include "text/text_buffer.h"
#include <pthread.h>

#define CONTRACTIONS "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
#define ANY_CASE "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACE_END "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3_END "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACE_END
#define QWEN2_END "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" SPACE_END
#define QWEN35_END "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" SPACE_END
#define GPT2_BEGIN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)"
#define CASED(contractions)                                                                                            \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" contractions           \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" contractions
#define CASED_END "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" SPACE_END

const char word_pattern_gpt2[] = GPT2_BEGIN "|\\s+";
static const char llama3[] = CONTRACTIONS LLAMA3_END, llama3_own[] = ANY_CASE LLAMA3_END;
static const char qwen2[] = CONTRACTIONS QWEN2_END, qwen2_own[] = ANY_CASE QWEN2_END;
static const char qwen35[] = CONTRACTIONS QWEN35_END, qwen35_own[] = ANY_CASE QWEN35_END;
static const char tekken[] = CASED("") "|\\p{N}" CASED_END;
static const char gpt4o[] = CASED(ANY_CASE "?") "|\\p{N}{1,3}" CASED_END;
static const char digit[] = "\\p{N}", three_digits[] = "[0-9][0-9][0-9]", line_ends[] = "[\r\n]";
static const char cjk[] = "[一-龥ࠀ-一가-퟿]+", cjk_kana[] = "[一-龥぀-ゟ゠-ヿ]+";
/* It measures such characters otherwise each time. */
/* clang-format off */
static const char deepseek_letters[] =
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-"
    "ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐ"
    "ῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-"
    "𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+";
/* clang-format on */

/* The default, also for files of an older make that name none, is what llama.cpp began with. */
static const word_patterns known[] = {
    {.name = "default", .expressions = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_BEGIN, "\\p{N}+", three_digits}},
    {.name = "llama-bpe", .expressions = {llama3}, .ignores_merges = true, .adds_bos = true},
    {.name = "llama3", .expressions = {llama3}, .ignores_merges = true, .adds_bos = true},
    {.name = "llama-v3", .expressions = {llama3}, .ignores_merges = true, .adds_bos = true},
    {.name = "falcon3", .expressions = {llama3}, .ignores_merges = true, .adds_bos = true},
    {.name = "lfm2", .expressions = {llama3}, .ignores_merges = true, .adds_bos = true},
    {.name = "dbrx", .expressions = {llama3}},
    {.name = "smaug-bpe", .expressions = {llama3}},
    {.name = "chatglm-bpe", .expressions = {llama3}},
    {.name = "glm4", .expressions = {llama3}, .ignores_merges = true},
    {.name = "qwen2", .expressions = {qwen2}},
    {.name = "deepseek-r1-qwen", .expressions = {qwen2}},
    {.name = "megrez", .expressions = {qwen2}},
    {.name = "stablelm2", .expressions = {qwen2}},
    {.name = "hunyuan", .expressions = {qwen2}},
    {.name = "grok-2", .expressions = {qwen2}},
    {.name = "qwen35", .expressions = {qwen35}},
    {.name = "gpt-2", .expressions = {GPT2_BEGIN}},
    {.name = "phi-2", .expressions = {GPT2_BEGIN}},
    {.name = "mpt", .expressions = {GPT2_BEGIN}},
    {.name = "olmo", .expressions = {GPT2_BEGIN}},
    {.name = "jais", .expressions = {GPT2_BEGIN}},
    {.name = "trillion", .expressions = {GPT2_BEGIN}},
    {.name = "exaone4", .expressions = {GPT2_BEGIN}},
    {.name = "modern-bert", .expressions = {GPT2_BEGIN}},
    {.name = "granite-docling", .expressions = {GPT2_BEGIN}},
    {.name = "smollm", .expressions = {digit, GPT2_BEGIN}},
    {.name = "starcoder", .expressions = {digit, GPT2_BEGIN}},
    {.name = "refact", .expressions = {digit, GPT2_BEGIN}},
    {.name = "command-r", .expressions = {digit, GPT2_BEGIN}},
    {.name = "codeshell", .expressions = {digit, GPT2_BEGIN}},
    {.name = "exaone", .expressions = {digit, GPT2_BEGIN}},
    {.name = "minerva-7b", .expressions = {digit, GPT2_BEGIN}},
    {.name = "falcon", .expressions = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2_BEGIN, three_digits}},
    {.name = "tekken", .expressions = {tekken}, .ignores_merges = true, .adds_bos = true},
    {.name = "gpt-4o", .expressions = {gpt4o}},
    {.name = "llama4", .expressions = {gpt4o}},
    {.name = "deepseek-llm",
     .expressions = {line_ends, deepseek_letters, "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", cjk, "\\p{N}+"}},
    {.name = "deepseek-coder", .expressions = {line_ends, "\\s?\\p{L}+", "\\s?\\p{P}+", cjk, digit}},
    {.name = "deepseek-v3",
     .expressions = {"\\p{N}{1,3}", cjk_kana,
                     "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                     "?[\\p{P}\\p{S}]+[\r\n]*|" SPACE_END}},
};
enum { KNOWN = sizeof known / sizeof *known };

const word_patterns *word_patterns_find(const char *name) {
    for (int i = 0; i < KNOWN; i++)
        if (strcmp(known[i].name, name) == 0) return &known[i];
    return NULL;
}

/* What a tokenizer.json has for what llama.cpp's matcher cannot do. */
static const char *as_known(const char *expression) {
    static const char *const same[][2] = {
        {llama3_own, llama3}, {qwen2_own, qwen2}, {qwen35_own, qwen35}, {word_pattern_gpt2, GPT2_BEGIN}};
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (strcmp(expression, same[i][0]) == 0) return same[i][1];
    return expression;
}

static bool is_of(const word_patterns *p, const char *const *expressions, int count) {
    for (int i = 0; i < count; i++)
        if (i == WORD_PATTERNS || !p->expressions[i] || strcmp(p->expressions[i], as_known(expressions[i])) != 0)
            return false;
    return count > 0 && !p->expressions[count];
}

const char *word_patterns_name(const char *const *expressions, int count, bool ignores_merges) {
    for (int i = 0; i < KNOWN; i++)
        if (known[i].ignores_merges == ignores_merges && is_of(&known[i], expressions, count)) return known[i].name;
    return NULL;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static text_buffer names;

static void list_names(void) {
    for (int i = 0; i < KNOWN; i++) {
        if (i) text_append_string(&names, ", ");
        text_append_string(&names, known[i].name);
    }
}

const char *word_patterns_names(void) {
    pthread_once(&once, list_names);
    return names.text;
}

static bool is_one_of(const char *expression, const char *const *list, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(expression, list[i]) == 0) return true;
    return false;
}

bool word_pattern_cuts_lines(const char *expression) {
    static const char *const list[] = {word_pattern_gpt2, GPT2_BEGIN, llama3,     llama3_own, qwen2,
                                       qwen2_own,         qwen35,     qwen35_own, tekken,     gpt4o};
    return is_one_of(expression, list, sizeof list / sizeof *list);
}

bool word_pattern_knows_no_lines(const char *expression) {
    static const char *const list[] = {digit, three_digits, "\\p{N}{1,3}", "\\p{N}+"};
    return is_one_of(expression, list, sizeof list / sizeof *list);
}
