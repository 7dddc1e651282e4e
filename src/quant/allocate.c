#include "quant/allocate.h"

#include <math.h>
#include <stdbool.h>

static int steps_of(const allocation_way *way) {
    return (int)floor((way->most - way->least) / RATE_STEP + 1e-9);
}

static candidate at_step(const allocation_way *way, int step) {
    return curve_at(way->curve, way->least + step * RATE_STEP);
}

/* The way and the rate of least error + λ · bytes; the fewer bytes where two are equal. */
static void choose(allocation_item *item, double lambda) {
    item->way = 0;
    item->chosen = at_step(&item->ways[0], 0);
    for (int w = 0; w < item->way_count; w++)
        for (int i = 0; i <= steps_of(&item->ways[w]); i++) {
            const candidate next = at_step(&item->ways[w], i);
            if (next.error + lambda * next.bytes >= item->chosen.error + lambda * item->chosen.bytes) continue;
            item->chosen = next;
            item->way = w;
        }
}

static double choose_all(allocation_item *items, int count, double lambda) {
    double bytes = 0;
    for (int i = 0; i < count; i++) {
        choose(&items[i], lambda);
        bytes += items[i].chosen.bytes;
    }
    return bytes;
}

double allocation_least_bytes(const allocation_item *items, int count) {
    double bytes = 0;
    for (int i = 0; i < count; i++) bytes += at_step(&items[i].ways[0], 0).bytes;
    return bytes;
}

/* One more step on its way to the item that gains most a byte among those that still fit; false: nobody. */
static bool fill_one(allocation_item *items, int count, double *left) {
    int who = -1;
    double most = 0;
    candidate next = {0};
    for (int i = 0; i < count; i++) {
        const candidate *now = &items[i].chosen;
        const allocation_way *way = &items[i].ways[items[i].way];
        if (now->rate + RATE_STEP > way->most + 1e-9) continue;
        const candidate more = curve_at(way->curve, now->rate + RATE_STEP);
        const double bytes = more.bytes - now->bytes;
        if (bytes <= 0 || bytes > *left) continue;
        const double gain = (now->error - more.error) / bytes;
        if (gain <= most) continue;
        who = i;
        most = gain;
        next = more;
    }
    if (who < 0) return false;
    *left -= next.bytes - items[who].chosen.bytes;
    items[who].chosen = next;
    return true;
}

double allocate(allocation_item *items, int count, double bytes) {
    if (choose_all(items, count, 0) <= bytes) return 0;
    double low = -140, high = 60; /* log₂ λ: the low one spends too much, the high one fits if anything does */
    for (int i = 0; i < 80; i++) {
        const double middle = 0.5 * (low + high);
        if (choose_all(items, count, exp2(middle)) > bytes)
            low = middle;
        else
            high = middle;
    }
    double left = bytes - choose_all(items, count, exp2(high));
    while (left > 0 && fill_one(items, count, &left))
        ;
    return exp2(high);
}
