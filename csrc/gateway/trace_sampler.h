// TraceSampler: which inferences are traced: one of so many.
//
//   sampler.Set({.of_all = 1000, .of_models = {{"digits", 1}}});
//   sampler.Take("digits")   // true each time
//   sampler.Take("magika")   // true the 1000th time
//
// Who is not chosen pays for a branch while nothing is traced, and for a counter while something
// is.
//
// Threads: confined to the event loop's.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace fastserve {

class TraceSampler {
 public:
  struct Rates {
    uint32_t of_all = 0;  // Of the models without a rate of their own, together; 0: none.
    std::map<std::string, uint32_t, std::less<>> of_models = {};
  };

  // Counting begins anew.
  void Set(const Rates& rates) {
    all_ = {.rate = rates.of_all};
    models_.clear();
    is_on_ = rates.of_all > 0;
    for (const auto& [model, rate] : rates.of_models) {
      models_.emplace(model, Counted{.rate = rate});
      is_on_ = is_on_ || rate > 0;
    }
  }

  bool is_on() const { return is_on_; }

  // Whether the inference that begins now, of this model, is traced.
  bool Take(std::string_view model) {
    if (!is_on_) return false;
    const auto own = models_.find(model);
    return (own == models_.end() ? all_ : own->second).Take();
  }

 private:
  struct Counted {
    uint32_t rate = 0;
    uint32_t count = 0;

    bool Take() {
      if (rate == 0 || ++count < rate) return false;
      count = 0;
      return true;
    }
  };

  Counted all_;
  std::map<std::string, Counted, std::less<>> models_;
  bool is_on_ = false;
};

}  // namespace fastserve
