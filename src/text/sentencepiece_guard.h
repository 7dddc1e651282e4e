// No C++ exception crosses the C interface: it becomes a failed status.
#ifndef MOEC_TEXT_SENTENCEPIECE_GUARD_H
#define MOEC_TEXT_SENTENCEPIECE_GUARD_H

#include <exception>
#include <new>

extern "C" {
#include "base/status.h"
}

template <typename Body> status guarded(const char *where, Body body) {
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fail("%s: out of memory", where);
    } catch (const std::exception &e) {
        return fail("%s: %s", where, e.what());
    } catch (...) {
        return fail("%s: SentencePiece failed and did not say why", where);
    }
}

#endif
