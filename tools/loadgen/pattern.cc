#include "loadgen/pattern.h"

#include <algorithm>
#include <cmath>

namespace thermocline::loadgen {

Zipfian::Zipfian(uint64_t count, double theta)
    : count_(count), theta_(theta), alpha_(1 / (1 - theta)), zeta_(0) {
  for (uint64_t rank = count; rank > 0; --rank) zeta_ += std::pow(static_cast<double>(rank), -theta);
  const double zeta_2 = 1 + std::pow(0.5, theta);
  eta_ = (1 - std::pow(2 / static_cast<double>(count), 1 - theta)) / (1 - zeta_2 / zeta_);
}

uint64_t Zipfian::Next(Random& random) const {
  const double u = random.Unit();
  const double uz = u * zeta_;
  if (uz < 1) return 0;
  if (uz < 1 + std::pow(0.5, theta_)) return std::min<uint64_t>(1, count_ - 1);
  const double rank = static_cast<double>(count_) * std::pow(eta_ * u - eta_ + 1, alpha_);
  return std::min(static_cast<uint64_t>(rank), count_ - 1);
}

uint64_t Scatter(uint64_t rank, uint64_t count) {
  // A prime that no count reaches is coprime to every count.
  constexpr uint64_t kPrime = 11400714819323198549u;
  return static_cast<uint64_t>(static_cast<unsigned __int128>(rank) * kPrime % count);
}

Pattern::Pattern(const PatternOptions& options) : options_(options) {
  if (options.kind == PatternOptions::Kind::kZipfian) zipfian_.emplace(options.ranks, options.theta);
  hot_ranks_ = std::clamp<uint64_t>(
      static_cast<uint64_t>(options.hot_keys * static_cast<double>(options.ranks)), 1, options.ranks);
}

std::optional<uint64_t> Pattern::Next(Random& random) {
  using Kind = PatternOptions::Kind;
  switch (options_.kind) {
    case Kind::kUniform: return Scattered(random.Below(options_.ranks));
    case Kind::kZipfian: return Scattered(zipfian_->Next(random));
    case Kind::kHotSet:
      if (hot_ranks_ == options_.ranks || random.Unit() < options_.hot_requests) {
        return Scattered(random.Below(hot_ranks_));
      }
      return Scattered(hot_ranks_ + random.Below(options_.ranks - hot_ranks_));
    case Kind::kScan: return next_.fetch_add(1, std::memory_order_relaxed) % options_.ranks;
    case Kind::kOnce: {
      const uint64_t rank = next_.fetch_add(1, std::memory_order_relaxed);
      if (rank >= options_.ranks) return std::nullopt;
      return Scattered(rank);
    }
  }
  return std::nullopt;
}

}  // namespace thermocline::loadgen
