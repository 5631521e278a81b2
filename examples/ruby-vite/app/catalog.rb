require_relative "../lib/closeness"

# What is for sale, found by closeness of names.
module Catalog
  DOLLS = ["daruma", "kokeshi", "hina doll", "ningyo", "matryoshka", "otoshi blocks"].freeze

  # Gives the three closest names, each with its distance from the query in letters.
  def self.search(query)
    query = query.to_s.downcase[0, 100]
    DOLLS.map { |name| { name: name, distance: Closeness.distance(query, name) } }
         .min_by(3) { |doll| doll[:distance] }
  end
end
