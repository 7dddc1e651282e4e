/* A scheduler of one test, the answer of one that has nothing else to do, and a text to ask about. */
#ifndef MOEC_TESTS_GENERATE_SCHEDULED_H
#define MOEC_TESTS_GENERATE_SCHEDULED_H

#include "test.h"

#include "asked.h"

static const char poem[] =
    "Tyger Tyger, burning bright, in the forests of the night; what immortal hand or eye, could frame thy "
    "fearful symmetry? In what distant deeps or skies burnt the fire of thine eyes?";

static inline scheduler *start(const texts_fixture *f, scheduler_options o) {
    scheduler *s;
    if (o.context == 0) o.context = 400;
    assert_ok(scheduler_start(&s, f->m, f->t, &o));
    return s;
}

/* The answer of a scheduler that has nothing else to do. */
static inline asked *answer(const texts_fixture *f, text_request r, scheduler_options o) {
    asked *a = xcalloc(1, sizeof *a);
    scheduler *s = start(f, o);
    assert_int_equal(ask(s, a, r), SUBMIT_ACCEPTED);
    asked_wait(a);
    scheduler_destroy(s);
    return a;
}

#endif
