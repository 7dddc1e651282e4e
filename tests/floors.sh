#!/bin/sh
# Every include in src/ goes to the own floor or to one below, in the order in which CMakeLists.txt stacks them.
set -eu
floors=$(sed -n 's/^moec_floor(\([a-z]*\).*/\1/p' CMakeLists.txt cmake/serve.cmake)
[ -n "$floors" ] || { echo "no floors in CMakeLists.txt"; exit 1; }
below='' failed=0
for floor in $floors; do
    below="$below $floor"
    allowed=$(echo $below | tr ' ' '|')
    up=$(grep -nE '#include "[a-z_]+/' src/"$floor"/*.[ch]* $(find src/"$floor" -mindepth 2 -name '*.[ch]') |
        grep -vE "#include \"($allowed)/" || :)
    [ -z "$up" ] || { echo "$floor may include only$below; found:"; echo "$up"; failed=1; }
done
foreign=$(grep -lE '#include <mpi' -r src | grep -v '^src/comm/mpi.c$' || :)
[ -z "$foreign" ] || { echo "only src/comm/mpi.c may know MPI; found: $foreign"; failed=1; }
for folder in src/*/; do
    folder=${folder#src/} folder=${folder%/}
    case " $(echo $floors) cli " in *" $folder "*) ;; *) echo "src/$folder is no floor of CMakeLists.txt"; failed=1 ;; esac
done
exit $failed
