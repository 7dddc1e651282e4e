# moec serve: a server of a small mixture, asked by curl, by hostile clients, and by OpenAI's own client where it is installed.
# usage: serve.sh MOEC; HOSTILE=N: so many broken requests (300)
. "$(dirname "$0")/common/lenient.sh"
. "$(dirname "$0")/common/domains.sh"
"$moec" serve --help | grep -q 'without libmicrohttpd' && exit 77
for tool in curl python3; do command -v $tool >/dev/null || { echo "skipped: $tool is absent"; exit 77; }; done

make_domains
train_named 32
expect 0 export "$work/named" -o "$work/hf" --to qwen2-moe
cat >"$work/hf/chat_template.jinja" <<'END'
{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}
END

server=''
trap '[ -z "$server" ] || kill -9 $server 2>/dev/null; rm -rf "$work"' EXIT
# start MODEL options…: a server in the background, at $url
start() {
    model=$1
    shift
    : >"$work/said"
    "$moec" serve "$model" --port 0 --dtype f32 "$@" >"$work/said" 2>"$work/told" &
    server=$!
    until grep -q '^listening on http' "$work/said"; do
        kill -0 $server 2>/dev/null || { complain "no server: $(cat "$work/told")"; exit 1; }
        sleep 0.05
    done
    url=$(sed -n 's/^listening on //p' "$work/said")
}
# stop: by the signal that init sends; it is to end well
stop() {
    kill -TERM $server
    wait $server
    code=$?
    server=''
    [ $code -eq 0 ] || complain "the server ended with $code: $(cat "$work/told")"
}
# get STATUS PATH curl's options…: the body is in $work/out
get() {
    status=$1 path=$2
    shift 2
    found=$(curl -s -m 60 -o "$work/out" -D "$work/head" -w '%{http_code}' "$@" "$url$path")
    [ "$found" = "$status" ] || complain "$path $*: $found, expected $status: $(head -c 500 "$work/out")"
}
# post STATUS PATH JSON options…
post() {
    status=$1 path=$2 json=$3
    shift 3
    get "$status" "$path" -H 'Content-Type: application/json' -d "$json" "$@"
}
heads() { grep -qi -e "$1" "$work/head" || complain "the head lacks \"$1\": $(cat "$work/head")"; }

# ---- what is wrong is said before anybody is told of an address ----
expect 2 serve "$work/hf" --port 0 --allow-origin https://my.site/
says err '--allow-origin: expected what browsers call a site'
timeout 120 "$moec" serve "$work/hf" --port 0 --dtype f32 --log "$work/absent/log" >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || complain "a server that cannot keep its log went on: $(cat "$work/err")"
[ -s "$work/out" ] && complain "a server that cannot keep its log listens: $(cat "$work/out")"
if [ -w /dev/full ]; then
    timeout 120 "$moec" serve "$work/hf" --port 0 --dtype f32 >/dev/full 2>"$work/err"
    [ $? -eq 1 ] || complain "a server whose address nobody can know went on"
    says err 'standard output: cannot write the address'
fi

# ---- what needs no model ----
start "$work/hf" --name tiny --context 256 --slots 4 --queue 16 --log "$work/log" --routing-state "$work/routing.json" \
    --speculate lookup --request-seconds 2 --idle-seconds 2 --connections 40
get 200 /health
says out '{"status":"ok"}'
get 200 /
heads "Content-Security-Policy: default-src 'none'; script-src 'sha256-"
heads 'Content-Type: text/html'
says out '</html>'
get 404 /nothing
says out '"type":"not_found_error"'
get 405 /v1/completions
heads '^Allow: POST'
get 415 /v1/completions -d 'prompt=x'
post 400 /v1/completions '{'
post 404 /v1/completions '{"model": "gpt-4", "prompt": "x"}'
says out '"code":"model_not_found"'
head -c 5000000 /dev/zero | get 413 /tokenize -H 'Content-Type: application/json' --data-binary @-
get 421 /health -H 'Host: evil.example'
get 403 /health -H 'Origin: http://evil.example'
get 200 /health -H "Origin: $url"
get 200 /health -I
get 405 /v1/completions -X OPTIONS -H "Origin: $url"

# ---- models, tokens ----
get 200 /v1/models
says out '"id":"tiny"'
says out '"routed_layers":[1,2],"experts":2,"expert_names":['
get 200 /v1/models/tiny
get 200 /v1/models/%74in%79
get 404 /v1/models/other
post 200 /tokenize '{"content": "the cat sees 3 birds"}'
tokens=$(sed -n 's/.*"tokens":\(\[[0-9,]*\]\).*/\1/p' "$work/out")
post 200 /detokenize "{\"tokens\": $tokens}"
says out '{"content":"the cat sees 3 birds"}'
post 400 /detokenize '{"tokens": [400]}'
says out 'tokens[0]: expected a token from 0 to 319, found 400'

# ---- texts: the same as moec generate's ----
expect 0 generate "$work/hf" 'the cat' --tokens 12 --temperature 0 --dtype f32 --no-echo
text=$(cat "$work/out")
post 200 /v1/completions '{"prompt": "the cat", "max_tokens": 12, "temperature": 0}'
said=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["choices"][0]["text"])' "$work/out")
[ "$said" = "$text" ] || complain "served: $said; generated: $text"
post 200 /v1/completions '{"prompt": "the cat", "max_tokens": 12, "temperature": 0, "stream": true, "stream_options": {"include_usage": true}}' -N
heads 'Content-Type: text/event-stream'
[ "$(tail -2 "$work/out" | head -1)" = 'data: [DONE]' ] || complain "a stream's end: $(tail -3 "$work/out")"
said=$(sed -n 's/^data: {/{/p' "$work/out" | python3 -c 'import json, sys
print("".join(c["text"] for line in sys.stdin for c in json.loads(line)["choices"]))')
[ "$said" = "$text" ] || complain "streamed: $said; generated: $text"
says out '"usage":{"prompt_tokens":6,"completion_tokens":12,"total_tokens":18'
expect 0 generate "$work/hf" 'the cat' --tokens 12 --temperature 0 --dtype f32 --no-echo --expert numbers
text=$(cat "$work/out")
post 200 /v1/completions '{"prompt": "the cat", "max_tokens": 12, "temperature": 0, "routing": true, "moec": {"force_experts": ["numbers"]}}'
said=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["choices"][0]["text"])' "$work/out")
[ "$said" = "$text" ] || complain "served by one expert: $said; generated: $text"
post 200 /v1/chat/completions '{"messages": [{"role": "user", "content": "7654 7655 7656"}], "max_tokens": 4, "moec": {"secretary": true}}'
says out '"secretary":{"expert":'
post 200 /v1/completions '{"prompt": "the cat", "max_tokens": 1, "logprobs": 2, "logit_bias": {"246": 100}}'
says out '"tokens":["bytes:\\xf0"]'
post 200 /v1/embeddings '{"input": "the cat"}'
says out '"object":"embedding"'
get 200 /metrics
says out 'moec_requests_total{route="/v1/completions",status="200"} 4'
says out 'moec_expert_tokens_total{layer="1",expert="numbers"} '
says out 'moec_first_token_seconds_count '
says out 'moec_proposed_tokens_total '
says out 'moec_accepted_tokens_total '
says out 'moec_cache_token_bytes '
says out 'moec_cache_blocks{state="used"} 0'
says out 'moec_cache_blocks{state="free"} '
says out 'moec_cache_shared_blocks '
says out 'moec_texts_put_back_total 0'
grep -q 'up to .* MB in 16 blocks of 64 tokens; 4 slots' "$work/told" || complain "what the cache takes: $(cat "$work/told")"
grep -q moec_hot_expert "$work/out" && complain "hot experts of a server that has all"

# ---- the counts of experts outlive the server ----
get 200 /v1/routing
cp "$work/out" "$work/counts"
stop
start "$work/hf" --name tiny --context 256 --slots 4 --queue 16 --log "$work/log" --routing-state "$work/routing.json" \
    --request-seconds 2 --idle-seconds 2 --connections 40
get 200 /v1/routing
cmp -s "$work/counts" "$work/out" || complain "the counts before: $(cat "$work/counts"); after: $(cat "$work/out")"

# ---- hostile clients, and OpenAI's ----
python3 tests/serve/hostile.py "${url##*:}" --requests "${HOSTILE:-300}" --request-seconds 2 --idle-seconds 2 --connections 40 ||
    complain "hostile clients"
python3 tests/serve/client.py "${url##*:}"
code=$?
[ $code -eq 0 ] || [ $code -eq 77 ] || complain "OpenAI's client: $code"
post 200 /v1/routing/reset ''
says out '"tokens":0'
stop
grep -q '"tokens":.*0' "$work/routing.json" || complain "the counts are not reset: $(cat "$work/routing.json")"
grep -q 'the cat' "$work/log" && complain "the log has texts: $(grep -m1 'the cat' "$work/log")"
python3 -c 'import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert any(l["route"] == "/v1/completions" and l["completion_tokens"] == 12 and l["status"] == 200 for l in lines if "completion_tokens" in l)' \
    "$work/log" || complain "the log"

# ---- who leaves is noticed although tokens come without a pause ----
start "$work/hf/" --context 20000 --slots 2 --log "$work/left"
get 200 /v1/models
says out '"id":"hf"' # as the folder is called, whatever slashes are behind it
curl -s -m 0.5 -o /dev/null -d '{"prompt": "the cat", "max_tokens": 19000, "logit_bias": {"1": -100, "2": -100}}' -H 'Content-Type: application/json' \
    "$url/v1/completions"
sleep 1
get 200 /metrics
says out 'moec_running 0'
sleep 0.2
python3 -c 'import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
assert [l["end"] for l in lines if l["route"] == "/v1/completions" and l.get("left")] == ["cancelled"], lines' "$work/left" || complain "the log of who left"

# ---- names of tokens, and where they stand ----
logged() { # STOP: of the same text, which waits for STOP or not
    post 200 /v1/completions '{"prompt": "the cat", "max_tokens": 40, "temperature": 2, "seed": 3, "logprobs": 1, "stop": ["'"$1"'"]}'
}
logged zzzqqq
cp "$work/out" "$work/logged"
first=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["choices"][0]["text"].strip()[:1])' "$work/logged")
logged "${first}zzzqqq"
python3 -c 'import json, sys
a, b = (json.load(open(path))["choices"][0]["logprobs"] for path in sys.argv[1:])
assert a["tokens"] == b["tokens"] and a["text_offset"] == b["text_offset"], (a, b)
assert all(name in top for name, top in zip(a["tokens"], a["top_logprobs"])), a
assert any(len(top) == 2 for top in a["top_logprobs"]), a' "$work/logged" "$work/out" || complain "text_offset or top_logprobs"
post 200 /tokenize '{"content": "the \u0001 cat"}'
post 400 /v1/chat/completions '{}'
says out 'expected a list of 1 to'
grep -q 'nothing, ' "$work/out" && complain "$(cat "$work/out")"
stop

# ---- keys ----
printf '# ours\nsk-first\nsk-second\n' >"$work/keys"
start "$work/hf" --context 256 --api-key-file "$work/keys" --log "$work/log" --hot-experts 1 --cache int8 \
    --cache-memory 50kB # five blocks
get 401 /v1/models
heads 'WWW-Authenticate: Bearer'
says out '"code":"invalid_api_key"'
get 401 /v1/models -H 'Authorization: Bearer sk-firs'
get 200 /v1/models -H 'Authorization: Bearer sk-second'
get 200 /health
get 200 /
python3 tests/serve/client.py "${url##*:}" --key sk-first
code=$?
[ $code -eq 0 ] || [ $code -eq 77 ] || complain "OpenAI's client with a key: $code"

# ---- a shutdown loses no answer; a second signal cuts ----
ask() { curl -s -m 60 -H 'Authorization: Bearer sk-first' -H 'Content-Type: application/json' -d "$1" "$url/v1/completions" -N; }
long='"prompt": "the cat", "max_tokens": 25, "logit_bias": {"1": -100, "2": -100}, "seed": 1, "n": 8'
accepted() { curl -s -H 'Authorization: Bearer sk-first' "$url/metrics" | sed -n 's/^moec_texts_accepted_total //p'; }
ask '{"prompt": "7654 the cat", "max_tokens": 4}' | grep -q '"choices"' || complain "no answer of a mixture with one expert in memory"
get 200 /metrics -H 'Authorization: Bearer sk-first'
says out 'moec_hot_experts 1'
grep -q '^moec_hot_expert_misses_total [1-9]' "$work/out" || complain "no expert was read: $(cat "$work/out")"
before=$(accepted)
ask "{$long}" >"$work/whole" &
first=$!
ask "{$long, \"stream\": true}" >"$work/stream" &
second=$!
until [ "$(accepted)" -ge $((before + 16)) ]; do sleep 0.02; done # both are here, and begun or in the queue
stop
wait $first $second
grep -q '"choices"' "$work/whole" || complain "an answer was lost: $(cat "$work/whole")"
grep -q 'data: \[DONE\]' "$work/stream" || complain "a stream was lost: $(tail -1 "$work/stream")"
grep -q sk- "$work/log" && complain "the log has keys"
grep -q sk- "$work/told" && complain "stderr has keys"

# ---- what is refused before a model is loaded ----
refused() { # PATTERN arguments…
    pattern=$1
    shift
    expect 2 serve "$@"
    [ "$(wc -l <"$work/err")" -eq 1 ] || complain "not one line: $(cat "$work/err")"
    grep -Eq -e "$pattern" "$work/err" || complain "\"$pattern\" is not said: $(cat "$work/err")"
}
refused '--host 0.0.0.0: expected --api-key-file, or --insecure-without-key' "$work/hf" --host 0.0.0.0 --port 0
refused '--port: expected an integer from 0 to 65535' "$work/hf" --port 70000
refused '--slots: expected an integer from 1' "$work/hf" --slots 0
refused '--cache-memory: expected bytes from 1 to [0-9]*, such as .* or 64KiB, found .0.' "$work/hf" --cache-memory 0
refused '--max-body: expected bytes from 1024 to 1073741824, such as .* or 64KiB, found .2GiB.' "$work/hf" --max-body 2GiB
refused '--max-body: expected bytes from .*, found .1.5.' "$work/hf" --max-body 1.5
refused '--hot-experts: expected an integer from 1' "$work/hf" --hot-experts 0
refused '--cache: expected f32, bf16 or int8, found .f16.' "$work/hf" --cache f16
refused 'expected at least 1 argument' --port 0
expect 2 serve "$work/hf" --port 0 --context 256 --cache-memory 1000
says err 'blocks of 64 tokens for a text of 256, found 1000'
expect 1 serve "$work/hf" --api-key-file "$work/none" --port 0
says err "$work/none"
: >"$work/empty"
expect 1 serve "$work/hf" --api-key-file "$work/empty" --port 0
says err 'expected a key a line, found none'
echo '{"experts": 3, "tokens": 1, "since": 1, "layers": [{"layer": 1, "counts": [1, 2, 3]}]}' >"$work/routing.json"
expect 1 serve "$work/hf" --port 0 --routing-state "$work/routing.json"
says err "$work/routing.json"

[ "$failures" -eq 0 ]
