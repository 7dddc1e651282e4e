/* Between the two files of a conversation's commands. */
#ifndef MOEC_CLI_CHAT_COMMANDS_H
#define MOEC_CLI_CHAT_COMMANDS_H

#include "base/nearest.h"
#include "cli/chat.h"

/* Whether there is a setting of that name; if so it is set, or *outcome says why not. */
bool chat_setting(chat *c, const char *name, const char *text, status *outcome);
void chat_settings_offer(nearest *n);
void chat_settings_help(const chat *c); /* a line each, with what they are now; on stderr */

#endif
