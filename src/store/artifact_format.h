/* How an artifact is laid out; shared by its writer and its reader. docs/formats.md says the same in prose. */
#ifndef MOEC_STORE_ARTIFACT_FORMAT_H
#define MOEC_STORE_ARTIFACT_FORMAT_H

#include "store/artifact.h"
#include "store/bytes.h"

/* magic[4], u32 version, u64 bytes of the whole file, u32 sections, u32 zero, then the sections' table:
 * u32 kind, u32 is it LZMA, u64 offset, u64 bytes in the file, u64 bytes unpacked; then the sections without gaps in the
 * table's order, and a CRC-64 of everything before it. */
#define ARTIFACT_MAGIC "MOEC"
enum { HEADER_BYTES = 24, SECTION_ENTRY_BYTES = 32, CHECKSUM_BYTES = 8 };

typedef enum section_kind {
    SECTION_CONFIG = 1, /* JSON: the model's config and what else a reader wants to know */
    SECTION_TOKENIZER,  /* the SentencePiece .model, or nothing */
    SECTION_TENSORS,    /* the directory */
    SECTION_SCALES,     /* uint16: the upper halves of float32, a row each, of all grids; in byte planes */
    SECTION_HALVES,     /* float16 elements; in byte planes */
    SECTION_FLOATS,     /* float32 elements; in byte planes */
    SECTION_CODES,      /* the grids' integers, one stream a tensor */
    SECTION_COUNT = SECTION_CODES
} section_kind;
const char *section_name(int kind);

/* u32 count, then a tensor each: u16 length of the name, the name, u8 coding, u8 bits, u8 dimensions, u8 zero,
 * u64 a dimension, u64 bytes of codes. */
typedef enum tensor_coding {
    CODING_FLOAT32,
    CODING_FLOAT16,
    CODING_PLAIN, /* grid, one int8 a weight: where the coder does not pay */
    CODING_RANGE, /* grid, weight_codec.h */
    CODING_COUNT
} tensor_coding;
enum { MAX_TENSORS = 1 << 20, MAX_NAME = 127 };

/* What bounds a reader's work by the file's size, whatever the file claims: elements a byte of a tensor's codes (the
 * writer uses CODING_PLAIN beyond it), of the whole file (rows and floats that are zero take less: the writer refuses a
 * model that is nearly nothing else), and LZMA's largest ratio. */
enum { MAX_PER_CODE_BYTE = 256, MAX_PER_FILE_BYTE = 256, MAX_LZMA_RATIO = 8192 };
/* What is unpacked before a directory bounds it: the config, and a tensor's entry with name, shape and the rest. */
enum { MAX_CONFIG_BYTES = 1 << 20, MAX_ENTRY_BYTES = 2 + MAX_NAME + 4 + 8 * TENSOR_MAX_DIMS + 8 };

/* artifact_parse, and without the checksum for fuzzing, which could not pass it. */
status artifact_decode(const uint8_t *bytes, size_t count, const char *where, bool check_crc, const kernels *k,
                       model_use use, model **m, tokenizer **tok, int *context_tokens);

/* ---- the writer's half: tensors to sections (pack_tensors.c) ---- */

typedef struct packed_tensors {
    byte_buffer directory, codes;
    uint16_t *scales, *halves; /* as they will be split into planes */
    float *floats;
    size_t scale_count, half_count, float_count;
} packed_tensors;
/* How many values a component has in the sections that all share. */
typedef struct component_share {
    int64_t scales, halves, floats;
} component_share;
/* Fills the report's components, of whose bytes only the codes are counted here, its errors and its entropy (a sum). */
status pack_tensors(packed_tensors *out, const model *m, hessians *h, const quant_options *options, pack_report *report,
                    component_share shares[COMPONENTS]);
/* That every weight is finite; else an error that names tensor, row and column. Asked before anything is calibrated. */
status artifact_check_weights(const model *m);
void packed_tensors_free(packed_tensors *p);

#endif
