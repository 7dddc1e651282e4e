/* The Content-Security-Policy of a page that has its script and its style in itself: exactly these run, by their SHA-256,
 * and nothing is fetched from anywhere but the page's own server. */
#ifndef MOEC_SERVE_POLICY_H
#define MOEC_SERVE_POLICY_H

#include <stddef.h>

char *page_policy_text(const char *html, size_t bytes); /* a new string */

#endif
