/* Byte-level vocabularies write each of the 256 bytes as one printable character, so that pieces are strings: GPT-2's table
 * (openai/gpt-2 src/encoder.py). A space is "Ġ" (U+0120), a newline "Ċ". */
#ifndef MOEC_TEXT_BYTE_CHARACTERS_H
#define MOEC_TEXT_BYTE_CHARACTERS_H

#include "text/text_buffer.h"
#include <stdbool.h>

/* Appends what stands for the bytes. */
void byte_characters(const char *text, size_t bytes, text_buffer *out);
/* Appends the bytes that the piece's characters stand for; false, and nothing is appended: some character stands for none. */
bool byte_characters_undo(const char *piece, size_t bytes, text_buffer *out);

#endif
