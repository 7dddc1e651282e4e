/* Strings to numbers. The hash has a key of this process, so that no file can choose strings that collide. */
#ifndef MOEC_TEXT_STRING_MAP_H
#define MOEC_TEXT_STRING_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Small, since a vocabulary's table is kept as long as its model runs. */
typedef struct string_slot {
    uint32_t hash;      /* its upper half */
    uint32_t at, bytes; /* in the pool */
    int32_t value;      /* −1: the slot is empty */
} string_slot;

typedef struct string_map {
    string_slot *slots; /* [mask + 1], at most half of them used */
    size_t mask, count;
    char *pool;
    size_t pool_bytes, pool_capacity;
} string_map;

uint64_t hash_bytes(const char *text, size_t bytes);
/* value ≥ 0. false: the string has one already, which stays. All strings together take less than 4 GiB: they are of one vocabulary's file. */
bool string_map_add(string_map *m, const char *text, size_t bytes, int32_t value);
int32_t string_map_find(const string_map *m, const char *text, size_t bytes); /* −1: absent */
void string_map_free(string_map *m);

#endif
