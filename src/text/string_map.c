#include "text/string_map.h"

#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static uint64_t key = 0x9E3779B97F4A7C15u;

/* Nothing depends on the key but where in a table a string lies. */
static void draw_key(void) {
    uint64_t drawn;
    if (getrandom(&drawn, sizeof drawn, 0) == sizeof drawn) key = drawn;
}

/* The halves of a 128-bit product, as in wyhash. */
static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t hash_bytes(const char *text, size_t bytes) {
    pthread_once(&key_once, draw_key);
    uint64_t hash = key ^ bytes * 0xA0761D6478BD642Fu, word;
    for (; bytes >= sizeof word; bytes -= sizeof word, text += sizeof word) {
        memcpy(&word, text, sizeof word);
        hash = mix(hash ^ word, 0xE7037ED1A0B428DBu ^ key);
    }
    word = 0;
    if (bytes) memcpy(&word, text, bytes);
    return mix(hash ^ word, 0x8EBC6AF09C88C6E3u ^ key);
}

/* The string's slot, or the empty one where it would go. */
static string_slot *slot_of(const string_map *m, const char *text, size_t bytes, uint64_t hash) {
    size_t i = hash & m->mask;
    for (;; i = (i + 1) & m->mask) {
        string_slot *s = &m->slots[i];
        if (s->value < 0) return s;
        if (s->hash == hash >> 32 && s->bytes == bytes && memcmp(m->pool + s->at, text, bytes) == 0) return s;
    }
}

static void grow(string_map *m) {
    string_map old = *m;
    size_t slots = old.slots ? 2 * (old.mask + 1) : 64;
    m->slots = xmalloc(slots * sizeof *m->slots);
    m->mask = slots - 1;
    for (size_t i = 0; i < slots; i++) m->slots[i].value = -1;
    for (size_t i = 0; old.slots && i <= old.mask; i++) {
        const string_slot *s = &old.slots[i];
        if (s->value < 0) continue;
        const char *text = m->pool + s->at;
        *slot_of(m, text, s->bytes, hash_bytes(text, s->bytes)) = *s;
    }
    free(old.slots);
}

static uint32_t keep(string_map *m, const char *text, size_t bytes) {
    const size_t at = m->pool_bytes;
    if (bytes > UINT32_MAX - at) memory_out(bytes);
    if (at + bytes > m->pool_capacity) {
        m->pool_capacity = 2 * (at + bytes);
        m->pool = xrealloc(m->pool, m->pool_capacity);
    }
    if (bytes) memcpy(m->pool + at, text, bytes);
    m->pool_bytes += bytes;
    return (uint32_t)at;
}

bool string_map_add(string_map *m, const char *text, size_t bytes, int32_t value) {
    if (!m->slots || 2 * m->count > m->mask) grow(m);
    uint64_t hash = hash_bytes(text, bytes);
    string_slot *s = slot_of(m, text, bytes, hash);
    if (s->value >= 0) return false;
    *s = (string_slot){
        .hash = (uint32_t)(hash >> 32), .at = keep(m, text, bytes), .bytes = (uint32_t)bytes, .value = value};
    m->count++;
    return true;
}

int32_t string_map_find(const string_map *m, const char *text, size_t bytes) {
    return m->slots ? slot_of(m, text, bytes, hash_bytes(text, bytes))->value : -1;
}

void string_map_free(string_map *m) {
    free(m->slots);
    free(m->pool);
    *m = (string_map){0};
}
