/* How an artifact is laid out; shared by its writer and its reader. docs/formats.md says the same in prose. */
#ifndef MOEC_STORE_ARTIFACT_FORMAT_H
#define MOEC_STORE_ARTIFACT_FORMAT_H

#include "store/artifact.h"
#include "store/artifact_contents.h"
#include "store/bytes.h"
#include "store/scale_codec.h"
#include "tensor/trellis.h"

/* magic[4], u32 version, u64 bytes of the whole file, u32 sections, u32 zero, then the sections' table:
 * u32 kind, u32 coding, u64 offset, u64 bytes in the file, u64 bytes unpacked; then the sections without gaps in the
 * table's order, and a CRC-64 of everything before it. */
#define ARTIFACT_MAGIC "MOEC"
enum { HEADER_BYTES = 24, SECTION_ENTRY_BYTES = 32, CHECKSUM_BYTES = 8 };

typedef enum section_kind {
    SECTION_CONFIG = 1, /* JSON: the model's config and what else a reader wants to know */
    SECTION_TOKENIZER,  /* the SentencePiece .model or a bundle (text/tokenizer_settings.h), or nothing */
    SECTION_TENSORS,    /* the directory */
    SECTION_SCALES, /* uint16: the upper halves of float32, of each grid its rows' (and groups'), the groups' offsets, its columns' */
    SECTION_HALVES, /* float16 elements; in byte planes */
    SECTION_FLOATS, /* float32 elements; in byte planes */
    SECTION_CODES,  /* the grids' integers, one stream a tensor */
    SECTION_COUNT = SECTION_CODES
} section_kind;
const char *section_name(int kind);

/* How a section is stored. Of scales alone: scale_codec.h; otherwise they are in byte planes, as halves and floats are. */
typedef enum section_coding { SECTION_PLAIN, SECTION_LZMA, SECTION_SCALE_CODED, SECTION_CODINGS } section_coding;

/* u32 count, then a tensor each: u16 length of the name, the name, u8 coding, u8 bits, u8 dimensions, u8 states of its
 * trellis, since version 2 u8 what its grid has (entry_flag; up to version 2 scales of columns alone), u32 columns in a
 * group, u32 how many tensors before it its twin is, with ENTRY_ROTATION u32 its seed, with ENTRY_LOW_RANK of its
 * correction u16 rank, u8 bits, u8 coding, u64 bytes of codes, and then u64 a dimension, u64 bytes of codes. */
enum entry_flag { ENTRY_COLUMNS = 1, ENTRY_OFFSETS = 2, ENTRY_ROTATION = 4, ENTRY_LOW_RANK = 8, ENTRY_FLAGS = 16 };
typedef enum tensor_coding {
    CODING_FLOAT32,
    CODING_FLOAT16,
    CODING_PLAIN,  /* grid, one int8 a weight: where the coder does not pay */
    CODING_RANGE,  /* grid, weight_codec_v1.h: read, no longer written */
    CODING_BINARY, /* grid, weight_codec.h */
    CODING_COUNT
} tensor_coding;
enum { MAX_TENSORS = 1 << 20, MAX_NAME = 127 };

/* What bounds a reader's work by the file's size, whatever the file claims: elements a byte of a tensor's codes (the
 * writer uses CODING_PLAIN beyond it), of the whole file (rows and floats that are zero take less: the writer refuses a
 * model that is nearly nothing else), and LZMA's largest ratio. */
enum { MAX_PER_CODE_BYTE = 256, MAX_PER_FILE_BYTE = 256, MAX_LZMA_RATIO = 8192 };
/* Operations that make frozen weights: some seconds, and for each byte of the file thirty times what #1692's models need. */
#define DERIVE_FLOPS 4e9
#define DERIVE_PER_FILE_BYTE 16384.0
/* What is unpacked before a directory bounds it: the config, and a tensor's entry with name, shape and the rest. */
enum { MAX_CONFIG_BYTES = 1 << 20, MAX_ENTRY_BYTES = 2 + MAX_NAME + 29 + 8 * TENSOR_MAX_DIMS + 8 };

/* artifact_parse, and without the checksum for fuzzing, which could not pass it. */
status artifact_decode(const uint8_t *bytes, size_t count, const char *where, bool check_crc, const kernels *k,
                       model_use use, model **m, tokenizer **tok, int *context_tokens);

/* artifact_examine from memory; without the checksum for fuzzing, and without reading the tensors. */
status artifact_contents_decode(artifact_contents *out, const uint8_t *bytes, size_t count, const char *where,
                                bool check_crc, bool everything);

/* ---- the reader's half: the container (artifact_container.c) ---- */

typedef struct stored_section {
    const uint8_t *bytes; /* in the file */
    size_t count, raw_bytes;
    section_coding coding;
    uint8_t *unpacked; /* NULL until asked for */
} stored_section;

typedef struct container {
    const char *where;
    size_t file_bytes;
    int version;
    stored_section sections[SECTION_COUNT + 1]; /* by kind */
} container;
status container_open(container *c, const uint8_t *bytes, size_t count, const char *where, bool check_crc);
void container_close(container *c);
/* The section's unpacked bytes; they live as long as the container. Coded scales are left as they are. */
status container_section(container *c, section_kind kind, const uint8_t **bytes, size_t *count);

typedef struct tensor_entry {
    char name[MAX_NAME + 1];
    int coding, bits, ndim;
    int trellis;        /* its states; 0: none */
    bool input_scales;  /* columns have scales */
    bool offsets;       /* groups have offsets */
    uint32_t rotation;  /* seed of its columns' (tensor/rotation.h); 0: none */
    int64_t group;      /* of columns that share a scale */
    int twin;           /* the tensor it is coded given, by its place in the directory; −1: none */
    size_t scale, code; /* where its own begin in their sections */
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t elements, rows, cols;
    size_t code_bytes;
    /* of its correction, a grid without anything else whose scales and codes follow the tensor's own */
    int rank, rank_bits, rank_coding; /* rank 0: none */
    size_t rank_bytes;
} tensor_entry;
static inline bool entry_is_grid(const tensor_entry *t) {
    return t->coding == CODING_PLAIN || t->coding == CODING_RANGE || t->coding == CODING_BINARY;
}
static inline size_t
entry_scales(const tensor_entry *t) { /* in the section, those of columns and of a correction too */
    return (size_t)((t->offsets ? 2 : 1) * t->rows * (t->cols / t->group) + (t->input_scales ? t->cols : 0) + t->rank);
}
/* Numbers of its correction's factors. */
static inline int64_t entry_factors(const tensor_entry *t) {
    return t->rank * (t->rows + t->cols);
}

typedef struct directory {
    tensor_entry *tensors;
    int count;
    size_t scales, halves, floats, codes; /* what the sections must hold */
    uint64_t elements;
} directory;
status directory_read(directory *d, container *c); /* directory_free it either way */
void directory_free(directory *d);

/* What section config says. */
typedef struct artifact_config {
    model_config model; /* checked */
    int context_tokens;
    char weights[8]; /* which of a training's they are: "live", "ema"; "": not known */
} artifact_config;
status artifact_config_read(artifact_config *config, container *c);
/* That the directory has as many weights as the config: before anything is allocated for them, so that a small hostile file cannot
 * claim much memory. */
status directory_check_size(const directory *d, const container *c, const model_config *model);

/* ---- tensors' values, in the directory's order (artifact_values.c) ---- */

typedef struct value_reader {
    const char *where;
    const directory *d;
    uint16_t *scales, *halves;
    float *floats;
    const uint8_t *codes;
    size_t half, single; /* used so far */
    int base; /* the twin that was read last, so that an expert after the other need not read it again; −1: none */
    quantized base_grid;
} value_reader;
/* d lives as long as the reader. value_reader_close it either way. */
status value_reader_open(value_reader *v, container *c, const directory *d);
void value_reader_close(value_reader *v);
status value_read_floats(value_reader *v, const tensor_entry *t, float *out);
void value_skip(value_reader *v, const tensor_entry *t); /* the next floats are read as if t had been */
/* Any of d's grids, in any order; allocates q. Its twin is read first where it was not the last one. */
status value_read_grid(value_reader *v, const tensor_entry *t, quantized *q);

/* ---- the writer's half: tensors to sections (pack_tensors.c) ---- */

typedef struct packed_tensors {
    byte_buffer directory, codes;
    uint16_t *scales, *halves; /* as they will be coded */
    float *floats;
    size_t scale_count, half_count, float_count;
    scale_run *runs; /* of scales */
    size_t run_count;
    int tensors;
    int version; /* of the artifact that holds them; 0: the usual one */
    struct {     /* of the experts of a layer the first one, which the others are coded given */
        quantized q;
        const param *p; /* NULL: none yet */
        int tensor;
        size_t run;
    } base;
} packed_tensors;
/* How many values a component has in the sections that all share. */
typedef struct component_share {
    int64_t scales, halves, floats;
} component_share;
/* Fills the report's components, of whose bytes only the codes are counted here, its errors and its entropy (a sum). */
status pack_tensors(packed_tensors *out, const model *m, hessians *h, const pack_options *options, pack_report *report,
                    component_share shares[COMPONENTS]);
/* The whole file, and what became of it. */
status artifact_build(byte_buffer *file, const model *m, const tokenizer *tok, hessians *h, const pack_options *options,
                      pack_report *report);
/* What is in a file beside tensors. */
typedef struct artifact_texts {
    const void *config, *tokenizer; /* the tokenizer filtered (score_filter.h) */
    size_t config_bytes, tokenizer_bytes;
} artifact_texts;
status artifact_assemble(byte_buffer *file, const packed_tensors *t, const artifact_texts *texts);
/* Shares bytes out and builds: the file is at most as large as options.allocation.bits and options.budget_bytes ask for, and within half a
 * percent of it unless every tensor has its finest grid. Where even the coarsest grids are larger: a failure that says how small it
 * can be. */
status artifact_allocate(byte_buffer *file, const model *m, const tokenizer *tok, hessians *h, pack_options options,
                         pack_report *report, const char *path);
#define PACK_MOST_STEP 1.2 /* of a row's σ: beyond it a weight has less than 2 bits */
void packed_tensors_free(packed_tensors *p);
/* ---- one tensor (pack_grid.c) ---- */

/* Its line of the directory; name and shape are p's. group 0: a row. */
void packed_add_entry(packed_tensors *out, const param *p, const tensor_entry *t);
/* Values that are no grid into theirs, as float16 where that holds them. */
tensor_coding packed_add_floats(packed_tensors *out, const param *p, const float *x);
/* A matrix into its sections and the directory, as tensor p. Scales have to be bfloat16. An expert is coded given the first one of its layer and role where that pays. Takes q over; *code_bytes is
 * what its codes take. */
status packed_add_grid(packed_tensors *out, const param *p, quantized *q, size_t *code_bytes);

#endif
