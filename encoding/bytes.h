#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

/// Fixed-width big-endian integers and LEB128 varints, written to strings and read from views.
/// Readers never trust their input: they return false and leave the view as it was when bytes are missing.
namespace thermocline {

inline uint16_t ToBig16(uint16_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap16(v) : v;
}
inline uint32_t ToBig32(uint32_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap32(v) : v;
}
inline uint64_t ToBig64(uint64_t v) {
  return std::endian::native == std::endian::little ? __builtin_bswap64(v) : v;
}

inline void StoreBig16(char* to, uint16_t v) {
  v = ToBig16(v);
  std::memcpy(to, &v, 2);
}
inline void StoreBig32(char* to, uint32_t v) {
  v = ToBig32(v);
  std::memcpy(to, &v, 4);
}
inline void StoreBig64(char* to, uint64_t v) {
  v = ToBig64(v);
  std::memcpy(to, &v, 8);
}
inline uint16_t LoadBig16(const char* from) {
  uint16_t v;
  std::memcpy(&v, from, 2);
  return ToBig16(v);
}
inline uint32_t LoadBig32(const char* from) {
  uint32_t v;
  std::memcpy(&v, from, 4);
  return ToBig32(v);
}
inline uint64_t LoadBig64(const char* from) {
  uint64_t v;
  std::memcpy(&v, from, 8);
  return ToBig64(v);
}

inline void AppendBig16(std::string& out, uint16_t v) {
  char b[2];
  StoreBig16(b, v);
  out.append(b, 2);
}
inline void AppendBig32(std::string& out, uint32_t v) {
  char b[4];
  StoreBig32(b, v);
  out.append(b, 4);
}
inline void AppendBig64(std::string& out, uint64_t v) {
  char b[8];
  StoreBig64(b, v);
  out.append(b, 8);
}
inline void AppendVarint(std::string& out, uint64_t v) {
  char b[10];
  int n = 0;
  while (v >= 0x80) {
    b[n++] = static_cast<char>(v | 0x80);
    v >>= 7;
  }
  b[n++] = static_cast<char>(v);
  out.append(b, static_cast<size_t>(n));
}
/// A varint length and then the bytes.
inline void AppendSized(std::string& out, std::string_view bytes) {
  AppendVarint(out, bytes.size());
  out.append(bytes);
}

inline bool ReadU8(std::string_view& in, uint8_t* v) {
  if (in.empty()) return false;
  *v = static_cast<uint8_t>(in[0]);
  in.remove_prefix(1);
  return true;
}
inline bool ReadBig16(std::string_view& in, uint16_t* v) {
  if (in.size() < 2) return false;
  *v = LoadBig16(in.data());
  in.remove_prefix(2);
  return true;
}
inline bool ReadBig32(std::string_view& in, uint32_t* v) {
  if (in.size() < 4) return false;
  *v = LoadBig32(in.data());
  in.remove_prefix(4);
  return true;
}
inline bool ReadBig64(std::string_view& in, uint64_t* v) {
  if (in.size() < 8) return false;
  *v = LoadBig64(in.data());
  in.remove_prefix(8);
  return true;
}
inline bool ReadVarint(std::string_view& in, uint64_t* v) {
  uint64_t result = 0;
  for (size_t i = 0; i < in.size() && i < 10; ++i) {
    const auto byte = static_cast<uint8_t>(in[i]);
    if (i == 9 && byte > 1) return false;  // would not fit 64 bits
    result |= static_cast<uint64_t>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      *v = result;
      in.remove_prefix(i + 1);
      return true;
    }
  }
  return false;
}
inline bool ReadSized(std::string_view& in, std::string_view* bytes) {
  std::string_view rest = in;
  uint64_t size;
  if (!ReadVarint(rest, &size) || size > rest.size()) return false;
  *bytes = rest.substr(0, size);
  in = rest.substr(size);
  return true;
}

}  // namespace thermocline
