#!/bin/sh
# Builds the C++ peer into the directory given: bench/peers/cpp/build.sh DIRECTORY
#
# Installs Debian's packages if it may. Without a compiler and gRPC's headers it builds nothing and says so; that is no
# error, since the row is then marked as not measured.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
proto=$here/../../../proto
out=$1
mkdir -p "$out"

have() {
  command -v g++ >/dev/null && command -v protoc >/dev/null && command -v grpc_cpp_plugin >/dev/null \
    && pkg-config --exists grpc++ 2>/dev/null
}

if ! have && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get install -y -qq g++ pkg-config libgrpc++-dev protobuf-compiler-grpc >/dev/null 2>&1 || true
fi
if ! have; then
  echo "the C++ peer is not built: it needs g++, pkg-config, libgrpc++-dev, protobuf-compiler-grpc"
  exit 0
fi
files="gateway/v1/event.proto gateway/v1/event_data.proto gateway/v1/event_type.proto"
more=$(cd "$proto" && grep -h '^import "gateway/' $files | sed 's/.*"\(.*\)".*/\1/')
files=$(printf '%s\n' $files $more | sort -u)
protoc --experimental_allow_proto3_optional -I "$proto" -I "$here" --cpp_out="$out" $files plain.proto
protoc -I "$proto" -I "$here" --grpc_out="$out" --plugin=protoc-gen-grpc="$(command -v grpc_cpp_plugin)" plain.proto
sources=$(cd "$out" && find . -name '*.pb.cc')
cd "$out"
g++ -O2 -std=c++17 -I. -o plain "$here/plain.cc" $sources $(pkg-config --cflags --libs grpc++ protobuf)
