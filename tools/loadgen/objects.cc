#include "loadgen/objects.h"

#include <cstring>
#include <iterator>

#include <fmt/format.h>

#include "loadgen/random.h"

namespace thermocline::loadgen {

namespace {

constexpr size_t kHeaderBytes = 16;

size_t ValueBytes(Type type, const Shape& shape) {
  return type == Type::kString ? shape.value_bytes : shape.value_bytes / kElements * kElements;
}

void AppendKey(Type type, uint64_t key, std::string* out) {
  constexpr char kLetters[] = {'s', 'h', 'l'};
  fmt::format_to(std::back_inserter(*out), "$14\r\n{}:{:012}\r\n", kLetters[static_cast<int>(type)], key);
}

void AppendBulk(std::string_view text, std::string* out) {
  fmt::format_to(std::back_inserter(*out), "${}\r\n", text.size());
  out->append(text).append("\r\n");
}

}  // namespace

void AppendValue(Type type, uint64_t key, uint32_t version, const Shape& shape, std::string* out) {
  const size_t bytes = ValueBytes(type, shape);
  const size_t begin = out->size();
  out->resize(begin + bytes);
  char* at = out->data() + begin;
  char* const end = at + bytes;
  const auto type_number = static_cast<uint32_t>(type);
  std::memcpy(at, &version, 4);
  std::memcpy(at + 4, &type_number, 4);
  std::memcpy(at + 8, &key, 8);
  at += kHeaderBytes;
  uint64_t state = Mix(Mix(key) + (uint64_t{version} << 8 | type_number));
  char* const repeated = shape.compressible ? end - bytes / 2 : end;
  uint64_t word = 0;
  while (at < end) {
    if (at < repeated) word = Mix(state += Random::kStep);
    const size_t step = std::min<size_t>(8, static_cast<size_t>(end - at));
    std::memcpy(at, &word, step);
    at += step;
  }
}

std::optional<uint32_t> VersionOf(Type type, uint64_t key, std::string_view value, const Shape& shape) {
  if (value.size() != ValueBytes(type, shape)) return std::nullopt;
  uint32_t version;
  std::memcpy(&version, value.data(), 4);
  thread_local std::string expected;
  expected.clear();
  AppendValue(type, key, version, shape, &expected);
  if (value != expected) return std::nullopt;
  return version;
}

void AppendWrite(Type type, uint64_t key, uint32_t version, const Shape& shape, std::string* out,
                 uint8_t* replies) {
  thread_local std::string value;
  value.clear();
  AppendValue(type, key, version, shape, &value);
  *replies = 1;
  if (type == Type::kString) {
    out->append("*3\r\n$3\r\nSET\r\n");
    AppendKey(type, key, out);
    AppendBulk(value, out);
    return;
  }
  const size_t part_bytes = value.size() / kElements;
  const auto part = [&](size_t i) { return std::string_view(value).substr(i * part_bytes, part_bytes); };
  if (type == Type::kHash) {
    out->append("*22\r\n$4\r\nHSET\r\n");
    AppendKey(type, key, out);
    for (size_t i = 0; i < kElements; ++i) {
      fmt::format_to(std::back_inserter(*out), "$2\r\nf{}\r\n", i);
      AppendBulk(part(i), out);
    }
    return;
  }
  if (version > 1) {
    out->append("*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n");
    AppendKey(type, key, out);
    *replies = 4;
  }
  out->append("*12\r\n$5\r\nRPUSH\r\n");
  AppendKey(type, key, out);
  for (size_t i = 0; i < kElements; ++i) AppendBulk(part(i), out);
  if (version > 1) out->append("*1\r\n$4\r\nEXEC\r\n");
}

void AppendRead(Type type, uint64_t key, std::string* out) {
  switch (type) {
    case Type::kString:
      out->append("*2\r\n$3\r\nGET\r\n");
      AppendKey(type, key, out);
      break;
    case Type::kHash:
      out->append("*2\r\n$7\r\nHGETALL\r\n");
      AppendKey(type, key, out);
      break;
    case Type::kList:
      out->append("*4\r\n$6\r\nLRANGE\r\n");
      AppendKey(type, key, out);
      out->append("$1\r\n0\r\n$2\r\n-1\r\n");
      break;
  }
}

std::optional<uint32_t> VersionInReply(Type type, uint64_t key, const Reply& reply, const Shape& shape) {
  if (type == Type::kString) {
    if (reply.kind == Reply::Kind::kNil) return 0;
    if (reply.kind != Reply::Kind::kBulk) return std::nullopt;
    return VersionOf(type, key, reply.text, shape);
  }
  if (reply.kind != Reply::Kind::kArray) return std::nullopt;
  if (reply.elements.empty()) return 0;
  const size_t per_element = type == Type::kHash ? 2 : 1;
  if (reply.elements.size() != kElements * per_element) return std::nullopt;
  // The order of a hash's fields is the server's affair.
  std::string_view parts[kElements];
  for (size_t i = 0; i < kElements; ++i) {
    size_t number = i;
    if (type == Type::kHash) {
      const std::string_view field = reply.elements[2 * i];
      if (field.size() != 2 || field[0] != 'f' || field[1] < '0' || field[1] > '9') return std::nullopt;
      number = static_cast<size_t>(field[1] - '0');
    }
    if (parts[number].data() != nullptr) return std::nullopt;
    parts[number] = reply.elements[i * per_element + per_element - 1];
  }
  thread_local std::string value;
  value.clear();
  for (const std::string_view part : parts) {
    if (part.size() != parts[0].size()) return std::nullopt;
    value += part;
  }
  return VersionOf(type, key, value, shape);
}

}  // namespace thermocline::loadgen
