/* What moec has read from a chat template (chat.h). */
#ifndef MOEC_TEXT_CHAT_FORMAT_H
#define MOEC_TEXT_CHAT_FORMAT_H

#include "text/chat.h"
#include "text/chat_expression.h"

struct chat_format {
    chat_family family;
    bool begins_with_bos;
    chat_sum system, user,
        assistant;       /* what stands for a message of that role; ChatML and Llama 3: `user` is all of them */
    chat_sum prompt;     /* in front of an answer that is to follow */
    bool always_prompts; /* also where none is asked for */

    /* ChatML */
    chat_sum default_system;  /* in front of a conversation without a system message */
    bool drops_thoughts;      /* of answers what stands in front of </think> goes */
    bool strips_answers;      /* of newlines in front, also where there are no thoughts */
    bool keeps_last_answer;   /* of these two, what ends a conversation has neither (QwQ) */
    bool keeps_last_thoughts; /* but not of those behind the last question (Qwen3) */

    /* Llama 3.1 and on: the system message says dates, and is there without being asked for */
    bool says_dates;
    char *date; /* "26 Jul 2024"; NULL: today */

    /* INST */
    bool alternates;    /* user and assistant, beginning with user; otherwise it is an error */
    bool system_is_own; /* `system` is a message */
    chat_sum
        with_system; /* the user's message that the system's goes into; or, where it is `wrapped`, what becomes its content */
    bool wrapped, in_last; /* in_last: it goes into the last one, if the user says it, instead of the first */
};

#endif
