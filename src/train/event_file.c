#include "train/event_file.h"
#include "base/crc32c.h"
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

/* ---- protocol buffers ---- */

typedef struct message {
    uint8_t *bytes;
    size_t count, capacity;
} message;

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void put_bytes(message *m, const void *bytes, size_t count) {
    if (m->count + count > m->capacity) {
        m->capacity = 2 * (m->count + count);
        m->bytes = xrealloc(m->bytes, m->capacity);
    }
    memcpy(m->bytes + m->count, bytes, count);
    m->count += count;
}

static void put_varint(message *m, uint64_t value) {
    for (; value > 0x7F; value >>= 7) put_bytes(m, &(uint8_t){(uint8_t)value | 0x80}, 1);
    put_bytes(m, &(uint8_t){(uint8_t)value}, 1);
}

/* Little-endian. */
static void put_fixed(message *m, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) put_bytes(m, &(uint8_t){(uint8_t)(value >> 8 * i)}, 1);
}

static void put_key(message *m, int field, int wire) {
    put_varint(m, (uint64_t)(field << 3 | wire));
}

static void put_double(message *m, int field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, WIRE_FIXED64);
    put_fixed(m, bits, sizeof bits);
}

static void put_float(message *m, int field, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, WIRE_FIXED32);
    put_fixed(m, bits, sizeof bits);
}

static void put_integer(message *m, int field, int64_t value) {
    put_key(m, field, WIRE_VARINT);
    put_varint(m, (uint64_t)value);
}

static void put_part(message *m, int field, const void *bytes, size_t count) {
    put_key(m, field, WIRE_BYTES);
    put_varint(m, count);
    put_bytes(m, bytes, count);
}

/* ---- Events ---- */

struct event_file {
    char *path;
    FILE *stream;
    message summary, value, event; /* that are being made */
};

static uint32_t masked_crc(const void *bytes, size_t count) {
    const uint32_t crc = crc32c(bytes, count);
    return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static status write_record(event_file *f, const message *data) {
    message head = {0}, tail = {0};
    put_fixed(&head, data->count, 8);
    put_fixed(&head, masked_crc(head.bytes, 8), 4);
    put_fixed(&tail, masked_crc(data->bytes, data->count), 4);
    const bool written = fwrite(head.bytes, 1, head.count, f->stream) == head.count &&
                         fwrite(data->bytes, 1, data->count, f->stream) == data->count &&
                         fwrite(tail.bytes, 1, tail.count, f->stream) == tail.count && fflush(f->stream) == 0;
    free(head.bytes);
    free(tail.bytes);
    return written ? STATUS_OK : fail("%s: cannot write: %s", f->path, strerror(errno));
}

/* An Event with one part. */
static status write_event(event_file *f, int64_t step, double wall_time, int field, const void *part, size_t count) {
    f->event.count = 0;
    put_double(&f->event, 1, wall_time);
    put_integer(&f->event, 2, step);
    put_part(&f->event, field, part, count);
    return write_record(f, &f->event);
}

static status begin(event_file *f, double wall_time) {
    static const char version[] = "brain.Event:2";
    static const uint8_t start[] = {1 << 3 | WIRE_VARINT, 1};
    TRY(write_event(f, 0, wall_time, 3, version, sizeof version - 1));
    return write_event(f, 0, wall_time, 7, start, sizeof start);
}

status event_file_create(event_file **out, const char *path, double wall_time) {
    FILE *stream;
    *out = NULL;
    TRY(file_open_stream(path, O_WRONLY | O_CREAT | O_TRUNC, "w", &stream));
    event_file *f = xcalloc(1, sizeof *f);
    f->path = xstrdup(path);
    f->stream = stream;
    const status s = begin(f, wall_time);
    if (s == STATUS_OK)
        *out = f;
    else
        event_file_close(f);
    return s;
}

void event_file_add(event_file *f, const char *tag, double value) {
    f->value.count = 0;
    put_part(&f->value, 1, tag, strlen(tag));
    put_float(&f->value, 2, (float)value);
    put_part(&f->summary, 1, f->value.bytes, f->value.count);
}

status event_file_write(event_file *f, int64_t step, double wall_time) {
    if (f->summary.count == 0) return STATUS_OK;
    const status s = write_event(f, step, wall_time, 5, f->summary.bytes, f->summary.count);
    f->summary.count = 0;
    return s;
}

void event_file_close(event_file *f) {
    if (!f) return;
    fclose(f->stream);
    free(f->summary.bytes);
    free(f->value.bytes);
    free(f->event.bytes);
    free(f->path);
    free(f);
}
