/* The integers of an artifact's grids, for other coders to try: codes.i8 (int8, row-major, one matrix after another),
 * scales.u16 (the scales as they are stored) and index.tsv: name, rows, columns, levels, bytes that moec's coder needs, states
 * of its trellis (0: none).
 *   dump_codes MODEL.moec FOLDER [MOST_WEIGHTS [PART]]
 * Matrices that would go beyond MOST_WEIGHTS are left out, as are those without PART in their names.
 * bench/coder/compare.py builds and runs it. */
#include "base/file.h"
#include "base/memory.h"
#include "store/artifact_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *open_in(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    FILE *f = fopen(path, "wb");
    if (!f) perror(path), exit(1);
    free(path);
    return f;
}

static void check(status s) {
    if (s == STATUS_OK) return;
    fprintf(stderr, "dump_codes: %s\n", error_message());
    exit(1);
}

static void dump(value_reader *v, const directory *d, const char *folder, int64_t most, const char *part) {
    FILE *codes = open_in(folder, "codes.i8"), *scales = open_in(folder, "scales.u16"),
         *index = open_in(folder, "index.tsv");
    int64_t done = 0;
    for (int i = 0; i < d->count; i++) {
        const tensor_entry *t = &d->tensors[i];
        if (!entry_is_grid(t) || done + t->elements > most || !strstr(t->name, part)) {
            value_skip(v, t);
            continue;
        }
        quantized q;
        fwrite(v->scales + t->scale, sizeof(uint16_t), (size_t)t->rows, scales);
        check(value_read_grid(v, t, &q));
        fwrite(q.q, 1, (size_t)t->elements, codes);
        fprintf(index, "%s\t%lld\t%lld\t%d\t%zu\t%d\n", t->name, (long long)t->rows, (long long)t->cols, q.levels,
                t->code_bytes, q.trellis);
        quantized_free(&q);
        done += t->elements;
    }
    if (fclose(codes) || fclose(scales) || fclose(index)) perror(folder), exit(1);
}

int main(int count, char **arguments) {
    file_map map;
    container c;
    directory d;
    value_reader v;
    if (count < 3) {
        fprintf(stderr, "usage: dump_codes MODEL.moec FOLDER [MOST_WEIGHTS [PART]]\n");
        return 2;
    }
    check(file_map_open(&map, arguments[1]));
    check(container_open(&c, map.bytes, map.count, arguments[1], true));
    check(directory_read(&d, &c));
    check(value_reader_open(&v, &c, &d));
    dump(&v, &d, arguments[2], count > 3 ? atoll(arguments[3]) : INT64_MAX, count > 4 ? arguments[4] : "");
    value_reader_close(&v);
    directory_free(&d);
    container_close(&c);
    file_map_close(&map);
    return 0;
}
