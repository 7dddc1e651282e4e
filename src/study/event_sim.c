#include "study/event_sim.h"

#include "base/memory.h"
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct task {
    double seconds, latency;
    double ready, begun, done;
    int resources[SIMULATION_MOST_RESOURCES];
    int resource_count;
    int waits_for;  /* tasks that are not done yet */
    int first_edge; /* to those that wait for it; −1: none */
} task;

typedef struct edge {
    int to, next;
} edge;

/* Numbers by a key that falls to the smallest first; of equal keys the smaller number. */
typedef struct heap_entry {
    double key;
    int number;
} heap_entry;
typedef struct heap {
    heap_entry *items;
    int count, capacity;
} heap;

typedef struct resource {
    int servers, busy;
    heap waiting; /* tasks, by when they could have begun */
    bool touched; /* in the list of those that something changed at */
} resource;

struct simulation {
    task *tasks;
    int task_count, task_capacity;
    edge *edges;
    int edge_count, edge_capacity;
    resource *resources;
    int resource_count, resource_capacity;
    heap events;  /* 2 · task: it gives its resources back; 2 · task + 1: it is done */
    int *touched; /* resources */
    int touched_count;
    int done_count;
    double now, end;
};

/* Room for one more item, which `count` is the number of. */
static void *grow(void *items, int count, int *capacity, size_t bytes) {
    if (count < *capacity) return items;
    *capacity = *capacity ? 2 * *capacity : 256;
    return xrealloc(items, (size_t)*capacity * bytes);
}

/* ---- heaps ---- */

static bool is_before(heap_entry a, heap_entry b) {
    return a.key != b.key ? a.key < b.key : a.number < b.number;
}

static void heap_push(heap *h, double key, int number) {
    h->items = grow(h->items, h->count, &h->capacity, sizeof *h->items);
    const heap_entry e = {key, number};
    int at = h->count++;
    for (; at > 0 && is_before(e, h->items[(at - 1) / 2]); at = (at - 1) / 2) h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = e;
}

static int heap_pop(heap *h) {
    const int top = h->items[0].number;
    const heap_entry last = h->items[--h->count];
    int at = 0;
    for (int child; (child = 2 * at + 1) < h->count; at = child) {
        if (child + 1 < h->count && is_before(h->items[child + 1], h->items[child])) child++;
        if (!is_before(h->items[child], last)) break;
        h->items[at] = h->items[child];
    }
    h->items[at] = last;
    return top;
}

/* ---- making ---- */

simulation *simulation_create(void) {
    return xcalloc(1, sizeof(simulation));
}

void simulation_destroy(simulation *s) {
    if (!s) return;
    for (int i = 0; i < s->resource_count; i++) free(s->resources[i].waiting.items);
    free(s->tasks);
    free(s->edges);
    free(s->resources);
    free(s->events.items);
    free(s->touched);
    free(s);
}

int simulation_resource(simulation *s, int servers) {
    s->resources = grow(s->resources, s->resource_count, &s->resource_capacity, sizeof *s->resources);
    s->resources[s->resource_count] = (resource){.servers = servers};
    return s->resource_count++;
}

int simulation_task(simulation *s, double seconds, double latency, const int *resources, int count) {
    s->tasks = grow(s->tasks, s->task_count, &s->task_capacity, sizeof *s->tasks);
    task *t = &s->tasks[s->task_count];
    *t = (task){.seconds = seconds, .latency = latency, .resource_count = count, .first_edge = -1};
    for (int i = 0; i < count; i++) t->resources[i] = resources[i];
    return s->task_count++;
}

void simulation_after(simulation *s, int later, int earlier) {
    if (earlier < 0) return;
    s->edges = grow(s->edges, s->edge_count, &s->edge_capacity, sizeof *s->edges);
    s->edges[s->edge_count] = (edge){.to = later, .next = s->tasks[earlier].first_edge};
    s->tasks[earlier].first_edge = s->edge_count++;
    s->tasks[later].waits_for++;
}

int simulation_join(simulation *s, int one, int other) {
    if (one == other || other < 0) return one;
    if (one < 0) return other;
    const int t = simulation_task(s, 0, 0, NULL, 0);
    simulation_after(s, t, one);
    simulation_after(s, t, other);
    return t;
}

int *simulation_nothing(int count) {
    int *tasks = xcalloc((size_t)count, sizeof *tasks);
    for (int i = 0; i < count; i++) tasks[i] = -1;
    return tasks;
}

int simulation_tasks(const simulation *s) {
    return s->task_count;
}

/* ---- running ---- */

/* A resource that is full; −1: the task may begin. */
static int blocking_resource(const simulation *s, const task *t) {
    for (int i = 0; i < t->resource_count; i++)
        if (s->resources[t->resources[i]].busy == s->resources[t->resources[i]].servers) return t->resources[i];
    return -1;
}

static void touch(simulation *s, int r) {
    if (s->resources[r].touched) return;
    s->resources[r].touched = true;
    s->touched[s->touched_count++] = r;
}

static void begin(simulation *s, int number) {
    task *t = &s->tasks[number];
    t->begun = s->now;
    for (int i = 0; i < t->resource_count; i++) s->resources[t->resources[i]].busy++;
    heap_push(&s->events, s->now + t->seconds, 2 * number);
}

/* It waits at one of its resources at a time: that is looked at when one is given back. */
static void become_ready(simulation *s, int number) {
    task *t = &s->tasks[number];
    t->ready = s->now;
    if (t->resource_count == 0) {
        begin(s, number);
        return;
    }
    heap_push(&s->resources[t->resources[0]].waiting, t->ready, number);
    touch(s, t->resources[0]);
}

static void finish(simulation *s, int number) {
    task *t = &s->tasks[number];
    t->done = s->now;
    s->done_count++;
    if (s->now > s->end) s->end = s->now;
    for (int e = t->first_edge; e >= 0; e = s->edges[e].next)
        if (--s->tasks[s->edges[e].to].waits_for == 0) become_ready(s, s->edges[e].to);
}

static void handle(simulation *s, int event) {
    const int number = event / 2;
    const task *t = &s->tasks[number];
    if (event % 2) {
        finish(s, number);
        return;
    }
    for (int i = 0; i < t->resource_count; i++) {
        s->resources[t->resources[i]].busy--;
        touch(s, t->resources[i]);
    }
    if (t->latency > 0)
        heap_push(&s->events, s->now + t->latency, event + 1);
    else
        finish(s, number);
}

/* Whoever waits at a resource with a free server begins, or waits at another one that is full. */
static void serve(simulation *s, int r) {
    resource *at = &s->resources[r];
    at->touched = false;
    while (at->waiting.count > 0 && at->busy < at->servers) {
        const int number = heap_pop(&at->waiting), other = blocking_resource(s, &s->tasks[number]);
        if (other < 0)
            begin(s, number);
        else
            heap_push(&s->resources[other].waiting, s->tasks[number].ready, number);
    }
}

/* All that happens at one moment comes before anybody who waits is served. */
static void step(simulation *s) {
    s->now = s->events.items[0].key;
    do {
        while (s->events.count > 0 && s->events.items[0].key == s->now) handle(s, heap_pop(&s->events));
        for (int i = 0; i < s->touched_count; i++) serve(s, s->touched[i]);
        s->touched_count = 0;
    } while (s->events.count > 0 && s->events.items[0].key == s->now);
}

status simulation_run(simulation *s) {
    s->touched = xcalloc((size_t)s->resource_count + 1, sizeof *s->touched);
    for (int i = 0; i < s->task_count; i++)
        if (s->tasks[i].waits_for == 0) become_ready(s, i);
    for (int i = 0; i < s->touched_count; i++) serve(s, s->touched[i]);
    s->touched_count = 0;
    while (s->events.count > 0) step(s);
    if (s->done_count == s->task_count) return STATUS_OK;
    return fail("simulation: expected tasks that can all begin, found %d of %d that wait for each other",
                s->task_count - s->done_count, s->task_count);
}

double simulation_begun(const simulation *s, int number) {
    return s->tasks[number].begun;
}

double simulation_done(const simulation *s, int number) {
    return s->tasks[number].done;
}

double simulation_end(const simulation *s) {
    return s->end;
}
