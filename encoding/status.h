#pragma once

#include <optional>
#include <string>
#include <utility>

#include "encoding/check.h"

namespace thermocline {

/// Why a call failed. RESP error texts are chosen from these in server/error_reply.cc and nowhere else.
enum class Code : unsigned char {
  kOk = 0,
  kWrongType,     ///< the key holds another type than the command works on
  kNotInteger,    ///< a stored value is no 64-bit integer
  kNotFloat,      ///< a stored value is no finite number
  kOverflow,      ///< an increment or decrement would leave the 64-bit range
  kNotFinite,     ///< an increment would give NaN or infinity
  kTooLarge,      ///< a string would exceed proto-max-bulk-len
  kNoSuchKey,     ///< the command needs a key that is not there
  kCorruption,    ///< stored bytes do not decode or fail their checksum
  kIoError,       ///< the disk failed, is full, or a file is missing
  kNotSupported,  ///< the data needs a newer program
  kInvalid,       ///< an argument or option is not valid; the message says which
  kBusy,          ///< refused for now (stall, out of memory); retry later
};

/// The outcome of a call that can fail. Free when it is a success. The message is for the log and the
/// operator; it names what was touched (file, key family), never user data.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message = {})
      : detail_(code == Code::kOk ? nullptr : new Detail{code, std::move(message)}) {}
  Status(const Status& other) : detail_(other.detail_ ? new Detail(*other.detail_) : nullptr) {}
  Status(Status&& other) noexcept : detail_(std::exchange(other.detail_, nullptr)) {}
  Status& operator=(Status other) noexcept {
    std::swap(detail_, other.detail_);
    return *this;
  }
  ~Status() { delete detail_; }

  bool ok() const { return detail_ == nullptr; }
  Code code() const { return detail_ ? detail_->code : Code::kOk; }
  const std::string& message() const {
    static const std::string empty;
    return detail_ ? detail_->message : empty;
  }
  /// Drops an error on purpose; the call makes that searchable.
  void Ignore() const {}

 private:
  struct Detail {
    Code code;
    std::string message;
  };
  Detail* detail_ = nullptr;
};

/// A value or the reason why there is none. REQUIRES ok() before `*` and `->`.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) { CHECK(!status_.ok()); }
  Result(Code code, std::string message = {}) : Result(Status(code, std::move(message))) {}

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  Code code() const { return status_.code(); }
  T& operator*() & {
    CHECK(ok());
    return *value_;
  }
  const T& operator*() const& {
    CHECK(ok());
    return *value_;
  }
  T&& operator*() && {
    CHECK(ok());
    return std::move(*value_);
  }
  T* operator->() { return &**this; }
  const T* operator->() const { return &**this; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace thermocline
