# Two machines as network namespaces of this one, with a wire between them; sourced behind ranks.sh. Skips the script where that cannot be.
[ "$(id -u)" -eq 0 ] || skip "namespaces need root"
for tool in ip python3 unshare; do command -v $tool >/dev/null 2>&1 || skip "no $tool"; done
[ -c /dev/net/tun ] || skip "no /dev/net/tun"
one=moec-$$-1 two=moec-$$-2 wire=
ip netns add "$one" 2>/dev/null || skip "no network namespaces"
ip netns add "$two"
leave_machines() {
    for machine in "$one" "$two"; do
        # What a job left there, which nothing else would end.
        for process in $(ip netns pids "$machine" 2>/dev/null); do kill -9 "$process" 2>/dev/null; done
        ip netns del "$machine" 2>/dev/null
    done
    [ -z "$wire" ] || kill "$wire" 2>/dev/null
    rm -rf "$work"
}
trap leave_machines EXIT
# The second machine's daemon is started without ssh.
cat >"$work/agent" <<END
#!/bin/sh
shift
exec ip netns exec $two unshare -u sh -c 'hostname moec-two; exec sh -c "\$*"' sh "\$@"
END
chmod +x "$work/agent"

# connect DELAY LOSS: a new wire
connect() {
    [ -z "$wire" ] || { kill "$wire"; wait "$wire" 2>/dev/null; }
    rm -f "$work/wire"
    python3 tests/cli/common/link.py "$one" 10.77.0.1 "$two" 10.77.0.2 "$1" "$2" >"$work/wire" 2>"$work/wire-err" &
    wire=$!
    while ! grep -q up "$work/wire" 2>/dev/null; do
        kill -0 "$wire" 2>/dev/null || skip "no wire: $(cat "$work/wire-err")"
        sleep 0.05
    done
}
# apart arguments…: moec by two ranks, one on each machine
apart() {
    ip netns exec "$one" unshare -u sh -c 'hostname moec-one; exec "$@"' sh \
        mpirun --mca plm_rsh_agent "$work/agent" --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 \
        --mca oob_tcp_if_include 10.77.0.0/24 --host 10.77.0.1:1,10.77.0.2:1 -n 2 --bind-to none -x MOEC_RANK_TIMEOUT \
        -x OMP_NUM_THREADS -x OMP_WAIT_POLICY "$moec" "$@"
}
