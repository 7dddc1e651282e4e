/* Event files, read back by the rules of TFRecord and of protocol buffers; and what of a log's record becomes which scalar.
 * tests/cli/tensorboard.sh has TensorBoard itself read one. */
#include "test.h"

#include "base/crc32c.h"
#include "train/event_file.h"
#include "train/tensorboard.h"
#include <math.h>

/* ---- reading ---- */

typedef struct part {
    const uint8_t *at, *end;
} part;

static uint64_t fixed(part *p, int bytes) {
    uint64_t value = 0;
    assert_true(p->end - p->at >= bytes);
    for (int i = 0; i < bytes; i++) value |= (uint64_t)*p->at++ << 8 * i;
    return value;
}

static uint64_t varint(part *p) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        assert_true(p->at < p->end);
        value |= (uint64_t)(*p->at & 0x7F) << shift;
        if (!(*p->at++ & 0x80)) return value;
    }
}

static part section(part *p) {
    const uint64_t bytes = varint(p);
    assert_true(bytes <= (uint64_t)(p->end - p->at));
    const part inner = {.at = p->at, .end = p->at + bytes};
    p->at = inner.end;
    return inner;
}

static uint32_t masked(const uint8_t *bytes, size_t count) {
    const uint32_t crc = crc32c(bytes, count);
    return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;
}

/* The bytes of the next TFRecord. */
static part record(part *file) {
    const uint8_t *head = file->at;
    const uint64_t bytes = fixed(file, 8);
    assert_int_equal(fixed(file, 4), masked(head, 8));
    assert_true(bytes <= (uint64_t)(file->end - file->at));
    const part data = {.at = file->at, .end = file->at + bytes};
    file->at = data.end;
    assert_int_equal(fixed(file, 4), masked(data.at, (size_t)bytes));
    return data;
}

typedef struct scalar {
    char tag[128];
    float value;
} scalar;

typedef struct read_event {
    double wall_time;
    int64_t step;
    char version[32];
    int status; /* of a SessionLog */
    scalar scalars[32];
    int count;
} read_event;

static void read_scalar(part value, scalar *s) {
    while (value.at < value.end) {
        const uint64_t key = varint(&value);
        if (key == (1 << 3 | 2)) {
            const part tag = section(&value);
            snprintf(s->tag, sizeof s->tag, "%.*s", (int)(tag.end - tag.at), (const char *)tag.at);
        } else {
            assert_int_equal(key, 2 << 3 | 5);
            const uint32_t bits = (uint32_t)fixed(&value, 4);
            memcpy(&s->value, &bits, sizeof bits);
        }
    }
}

static read_event next_event(part *file) {
    read_event e = {0};
    part data = record(file);
    while (data.at < data.end) {
        const uint64_t key = varint(&data);
        if (key == (1 << 3 | 1)) {
            const uint64_t bits = fixed(&data, 8);
            memcpy(&e.wall_time, &bits, sizeof bits);
        } else if (key == (2 << 3 | 0)) {
            e.step = (int64_t)varint(&data);
        } else {
            part inner = section(&data);
            if (key == (3 << 3 | 2))
                snprintf(e.version, sizeof e.version, "%.*s", (int)(inner.end - inner.at), (const char *)inner.at);
            else if (key == (7 << 3 | 2))
                assert_int_equal(varint(&inner), 1 << 3), e.status = (int)varint(&inner);
            else
                for (assert_int_equal(key, 5 << 3 | 2); inner.at < inner.end; e.count++)
                    assert_int_equal(varint(&inner), 1 << 3 | 2), read_scalar(section(&inner), &e.scalars[e.count]);
        }
    }
    return e;
}

static part read_all(const char *path, uint8_t **bytes) {
    size_t count;
    assert_ok(file_read(path, FILE_ANY_SIZE, bytes, &count));
    return (part){.at = *bytes, .end = *bytes + count};
}

static void check_beginning(part *file) {
    assert_string_equal(next_event(file).version, "brain.Event:2");
    const read_event start = next_event(file);
    assert_int_equal(start.status, 1);
    assert_int_equal(start.step, 0);
}

static void check_scalar(const read_event *e, const char *tag, double value) {
    for (int i = 0; i < e->count; i++) {
        if (strcmp(e->scalars[i].tag, tag) != 0) continue;
        assert_float_equal(e->scalars[i].value, value, 1e-6);
        return;
    }
    fail_msg("no scalar %s", tag);
}

/* ---- files ---- */

static void events(void **state) {
    char *path = path_join(*state, "events");
    event_file *f;
    uint8_t *bytes;
    assert_ok(event_file_create(&f, path, 1e9));
    event_file_add(f, "a", 1.5);
    event_file_add(f, "b/c", -INFINITY);
    assert_ok(event_file_write(f, 300, 1e9 + 0.25));
    assert_ok(event_file_write(f, 301, 0)); /* nothing was put into it */
    char *tag = xmalloc(1001);
    memset(tag, 'x', 1000);
    tag[1000] = '\0';
    event_file_add(f, tag, 2); /* lengths of more than one byte */
    assert_ok(event_file_write(f, INT64_C(1) << 40, 3));
    event_file_close(f);
    part file = read_all(path, &bytes);
    check_beginning(&file);
    read_event e = next_event(&file);
    assert_true(e.step == 300 && e.wall_time == 1e9 + 0.25 && e.count == 2);
    check_scalar(&e, "a", 1.5);
    assert_true(isinf(e.scalars[1].value));
    e = next_event(&file);
    assert_true(e.step == INT64_C(1) << 40 && e.count == 1 && e.scalars[0].value == 2);
    assert_true(file.at == file.end);
    free(bytes);
    free(tag);
    assert_fails(event_file_create(&f, "/dev/full", 0), "/dev/full: expected a regular file");
    free(path);
}

/* ---- records ---- */

/* The one event file of the folder. */
static char *only_file(const char *folder) {
    char **names, *found = NULL;
    size_t count;
    assert_ok(folder_list(folder, &names, &count));
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], "events.out.tfevents.", 20) == 0 && strstr(names[i], ".moec")) {
            assert_null(found);
            found = path_join(folder, names[i]);
        }
        free(names[i]);
    }
    free(names);
    return found;
}

static void tell(tensorboard *t, const char *text) {
    cJSON *record = cJSON_Parse(text);
    assert_non_null(record);
    assert_ok(tensorboard_record(t, record));
    cJSON_Delete(record);
}

static void scalars_of_records(void **state) {
    char *older = path_join(*state, "events.out.tfevents.0000000001.moec"),
         *other = path_join(*state, "events.out.tfevents.0000000001.host");
    tensorboard *t;
    assert_ok(file_write_whole(older, "x", 1));
    assert_ok(file_write_whole(other, "x", 1));
    assert_ok(tensorboard_create(&t, *state));
    tell(t, "{\"record\":\"header\",\"time\":5,\"params\":7}");
    tell(t,
         "{\"record\":\"step\",\"step\":1,\"loss\":2.5,\"val_bpb\":1.5,\"val_bpb_domains\":{\"code\":1.25,\"a b\":3},"
         "\"time\":1700000000.5,\"experts\":[{\"share\":[0.25,0.75],\"layer\":4,\"entropy\":0.5},"
         "{\"share\":[1],\"layer\":5,\"entropy\":0},{\"share\":[0.5,0.5],\"layer\":4,\"entropy\":0.6}],"
         "\"events\":[{\"do\":\"loop\"}]}");
    tell(t, "{\"record\":\"step\",\"step\":2,\"loss\":null,\"seconds\":9}"); /* a log of before there was a time */
    tensorboard_close(t);
    assert_false(path_exists(older));
    assert_true(path_exists(other));
    char *path = only_file(*state);
    uint8_t *bytes;
    part file = read_all(path, &bytes);
    check_beginning(&file);
    read_event e = next_event(&file);
    assert_true(e.step == 1 && e.wall_time == 1700000000.5);
    assert_int_equal(e.count, 12);
    check_scalar(&e, "train/loss", 2.5);
    check_scalar(&e, "val/bpb", 1.5);
    check_scalar(&e, "val_bpb_domains/code", 1.25);
    check_scalar(&e, "val_bpb_domains/a b", 3);
    check_scalar(&e, "experts/layer4_pass1_expert1", 0.75);
    check_scalar(&e, "experts/layer4_pass2_expert1", 0.5);
    check_scalar(&e, "experts/layer5_pass1_expert0", 1);
    check_scalar(&e, "router_entropy/layer4_pass2", 0.6);
    e = next_event(&file);
    assert_true(e.step == 2 && e.wall_time == 9 && e.count == 1);
    assert_true(file.at == file.end);
    free(bytes), free(path), free(older), free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {in_scratch(events), in_scratch(scalars_of_records)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
