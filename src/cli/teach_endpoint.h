/* `moec teach --endpoint URL`: a server of OpenAI's API as the teacher. */
#ifndef MOEC_CLI_TEACH_ENDPOINT_H
#define MOEC_CLI_TEACH_ENDPOINT_H

#include "cli/cli.h"

#define TEACH_ENDPOINT_HELP                                                                                            \
    "usage: moec teach --endpoint URL --prompts FILE.yaml -o FOLDER [options]\n"                                       \
    "       moec teach --endpoint URL --data PATH -o CACHE [options]\n"                                                \
    "\n"                                                                                                               \
    "Lets a server of OpenAI's API (llama.cpp, vLLM, Ollama, OpenAI, ...) answer the prompts of a file, domain by\n"   \
    "domain, into FOLDER/DOMAIN.jsonl, which moec data reads. Answers are kept as they come; called again it asks\n"   \
    "what is not answered, also after Ctrl-C, a kill or a failure.\n"                                                  \
    "\n"                                                                                                               \
    "  --endpoint URL     http://HOST:PORT, or with the path under which /chat/completions lies\n"                     \
    "  --prompts FILE     domains with their prompts (configs/teach/demo-domains.yaml)\n"                              \
    "  -o FOLDER          where answers go; FOLDER/teach.json says how they were asked\n"                              \
    "  --model NAME       the server's name of the model (the only one that it has)\n"                                 \
    "  --per-prompt N     answers to each prompt (1)\n"                                                                \
    "  --requests N       at most so many in this call, lost and refused ones too (0: any number)\n"                   \
    "  --parallel N       at once (4)\n"                                                                               \
    "  --max-tokens N     of an answer (512)\n"                                                                        \
    "  --temperature T    of the sampling (1)\n"                                                                       \
    "  --seed N           of what varies in prompts and of each answer (0)\n"                                          \
    "  --timeout SECONDS  for one answer (300)\n"                                                                      \
    "  --completions      /completions, which go on with a prompt, instead of /chat/completions\n"                     \
    "  --json             the table for programs: an object, with --held-out an array of two\n"                        \
    "\n"                                                                                                               \
    "With --data: what the server's model thinks of each token of a text, into a cache as moec teach MODEL makes it. " \
    "The\n"                                                                                                            \
    "server's vocabulary must be the text's: vLLM and llama.cpp (a request for each token) say which tokens they "     \
    "mean.\n"                                                                                                          \
    "\n"                                                                                                               \
    "  --data PATH        a folder made by moec data, a shard, or a pattern of shards; -o is the cache\n"              \
    "  --tokenizer PATH   the text's (tokenizer.model beside it)\n"                                                    \
    "  --top N            tokens of each distribution (20); vLLM has a bound of its own (--max-logprobs)\n"            \
    "  --held-out         the held-out shards of the folder too\n"                                                     \
    "  --seq N            window length in tokens (2048); --stride N of them are new (all)\n"                          \
    "\n"                                                                                                               \
    "MOEC_API_KEY or OPENAI_API_KEY in the environment is the key; it goes to the endpoint's own host only.\n"         \
    "\n"                                                                                                               \
    "example: moec teach --endpoint http://127.0.0.1:8080 --prompts configs/teach/demo-domains.yaml -o data/taught\n"  \
    "example: moec teach --endpoint http://127.0.0.1:8000 --data data/demo -o teachers/server --top 20\n"

extern const char teach_endpoint_usage[];
/* argv as the command's */
status teach_endpoint(int argc, char **argv);

#endif
