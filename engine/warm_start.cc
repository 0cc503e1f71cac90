// After a restart the keys that were hottest come back into RAM by themselves.

#include <algorithm>
#include <array>
#include <bit>

#include "engine/keyspace.h"

namespace thermocline {

namespace {

// The file is one of hints: it need not name everything that a large hot tier holds.
constexpr uint64_t kKeyBytesMax = 64 << 20;
constexpr uint64_t kRememberEveryMs = 5 * 60 * 1000;
constexpr size_t kSegmentsPerSlice = 16;
constexpr size_t kKeysPerRead = 64;
// Then the rest is left to the clients.
constexpr uint64_t kFullShare = 8;

}  // namespace

/// A walk over the hot tier in two rounds: how many bytes of keys are how hot, and then the hottest of them.
struct Keyspace::HotSurvey {
  static constexpr size_t kGrades = 65;  ///< 0: the hottest
  bool second_round = false;
  size_t segment = 0;
  std::array<uint64_t, kGrades> bytes{};
  size_t grades = 0;  ///< so many of the hottest are kept
  std::array<std::vector<HotKey>, kGrades> keys;
};

struct Keyspace::Warming {
  std::vector<HotKey> keys;
  size_t next = 0;
};

/// nullopt: it is not in use, or waits to be admitted.
std::optional<size_t> Keyspace::GradeOf(const Object* object) const {
  if (!object->live() || Logical(object->db) == kNone) return std::nullopt;
  if (object->admission == Object::kBrought || object->admission == Object::kUsedOnce) return std::nullopt;
  const uint64_t cold = eviction_.lfu() ? 255u - eviction_.Frequency(object) : eviction_.IdleMs(object) / 100;
  return static_cast<size_t>(std::bit_width(cold));
}

bool Keyspace::SurveySlice(size_t segments) {
  HotSurvey& survey = *survey_;
  for (size_t i = 0; i < segments && survey.segment < hot_.segments(); ++i) {
    hot_.VisitSegment(survey.segment++, [&](const Object* object) {
      const std::optional<size_t> grade = GradeOf(object);
      if (!grade.has_value()) return;
      if (!survey.second_round) {
        survey.bytes[*grade] += object->key_size + 4;
      } else if (*grade < survey.grades) {
        survey.keys[*grade].push_back({Logical(object->db), std::string(object->key())});
      }
    });
  }
  if (survey.segment < hot_.segments()) return true;
  if (survey.second_round) return false;
  survey.second_round = true;
  survey.segment = 0;
  uint64_t sum = 0;
  while (survey.grades < HotSurvey::kGrades && (sum += survey.bytes[survey.grades]) <= kKeyBytesMax)
    ++survey.grades;
  // All of one grade, and too many: some of them are better than none.
  survey.grades = std::max<size_t>(survey.grades, 1);
  return true;
}

std::vector<HotKey> Keyspace::TakeSurvey() {
  std::vector<HotKey> keys;
  for (std::vector<HotKey>& grade : survey_->keys) {
    keys.insert(keys.end(), std::make_move_iterator(grade.begin()), std::make_move_iterator(grade.end()));
  }
  survey_ = nullptr;
  uint64_t bytes = 0;
  const auto fits = [&](const HotKey& key) { return (bytes += key.key.size() + 4) <= kKeyBytesMax; };
  keys.erase(std::find_if_not(keys.begin(), keys.end(), fits), keys.end());
  return keys;
}

/// Every few minutes, and for as long as the old file's keys are not all read.
void Keyspace::StartSurvey() {
  if (!options_.warm_start || survey_ != nullptr || warming_ != nullptr) return;
  if (now_ms_ - remembered_ms_ < kRememberEveryMs) return;
  remembered_ms_ = now_ms_;
  survey_ = std::make_shared<HotSurvey>();
}

bool Keyspace::RememberSlice() {
  if (survey_ == nullptr) return false;
  if (SurveySlice(kSegmentsPerSlice)) return true;
  auto keys = std::make_shared<std::vector<HotKey>>(TakeSurvey());
  readers_.Submit(ReaderPool::Lane::kLong,
                  {[path = HotKeysPath(), keys] { (void)WriteHotKeys(path, *keys); }, [] {}});
  return false;
}

Status Keyspace::RememberHotKeys() {
  // What a restart in the middle of warming has not brought back yet is still what the file says.
  if (!options_.warm_start || warming_ != nullptr) return {};
  survey_ = std::make_shared<HotSurvey>();
  while (SurveySlice(hot_.segments())) {
  }
  return WriteHotKeys(HotKeysPath(), TakeSurvey());
}

void Keyspace::StartWarming() {
  remembered_ms_ = now_ms_;
  if (!options_.warm_start) return;
  warming_ = std::make_shared<Warming>();
  auto read = std::make_shared<std::vector<HotKey>>();
  readers_.Submit(ReaderPool::Lane::kLong, {[path = HotKeysPath(), read] {
                                              Result<std::vector<HotKey>> keys = ReadHotKeys(path);
                                              if (keys.ok()) *read = std::move(*keys);
                                            },
                                            [this, read] {
                                              warming_->keys = std::move(*read);
                                              if (warming_->keys.empty()) warming_ = nullptr;
                                            }});
}

/// The next keys, of one database, are read as if a command had asked for them.
bool Keyspace::WarmSlice() {
  if (warming_ == nullptr || warming_->keys.empty() || warmer_->suspended()) return false;
  const std::vector<HotKey>& keys = warming_->keys;
  const size_t begin = warming_->next;
  const bool full = options_.hot_bytes_max != 0 &&
                    hot_.used_bytes() > options_.hot_bytes_max - options_.hot_bytes_max / kFullShare;
  if (begin == keys.size() || full) {
    warming_ = nullptr;
    return false;
  }
  const int db = keys[begin].db;
  size_t end = begin;
  std::vector<std::string_view> names;
  while (end < keys.size() && keys[end].db == db && names.size() < kKeysPerRead)
    names.push_back(keys[end++].key);
  if (db < databases()) {
    const Ran ran = Run(*warmer_, db, [&](Txn& txn) {
      txn.StartLoading(names);
      txn.WaitForLoading();
      for (const std::string_view name : names) {
        Object* object = txn.Known(name);
        // They have been used before: the queue is not for them.
        if (object == nullptr || !object->live()) continue;
        if (object->admission != Object::kAdmitted) object->admission = Object::kUsedAgain;
        ++stats_.warmed_keys;
      }
    });
    if (ran == Ran::kWaiting) return false;
  }
  warming_->next = end;
  return true;
}

}  // namespace thermocline
