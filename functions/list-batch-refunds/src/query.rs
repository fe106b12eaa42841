//! The query of a list: which app, which page, made when.

use shared::ledger::RefundBatchId;
use shared::limits;
use shared::pingpp::{ApiError, batches_made};
use shared::store::BatchRange;

#[derive(Debug, PartialEq, Eq)]
pub struct ListQuery {
    pub app: Option<String>,
    /// Batches of a page.
    pub limit: usize,
    /// What the caller calls the limit.
    pub limit_param: &'static str,
    pub place: Place,
    pub created: Created,
}

/// Where the page begins.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Counted from 1.
    Page(usize),
    After(RefundBatchId),
    Before(RefundBatchId),
}

/// When the batches were made, in Unix seconds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Created {
    pub least: u64,
    pub most: u64,
}

impl ListQuery {
    /// # Errors
    /// Names the parameter at fault; unknown ones are ignored.
    pub fn read(query: &str) -> Result<Self, ApiError> {
        let mut read = Self {
            app: None,
            limit: limits::PAGE_BATCHES_DEFAULT,
            limit_param: "per_page",
            place: Place::Page(1),
            created: Created { least: 0, most: u64::MAX },
        };
        let mut page = 1;
        let mut cursor = None;
        let Created { least, most } = &mut read.created;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let name = name.as_ref();
            let mut continued = |place: fn(RefundBatchId) -> Place| {
                let id =
                    value.parse().map_err(|error| ApiError::invalid(name, format!("{name} {error}.")))?;
                match cursor.replace(place(id)) {
                    None => Ok(()),
                    Some(_) => Err(ApiError::invalid(name, "A page begins at one place.")),
                }
            };
            match name {
                "app" | "app[id]" => read.app = Some(value.into_owned()),
                "page" => page = number(name, &value, limits::PAGES_MAX)?,
                "per_page" | "limit" => {
                    read.limit = number(name, &value, limits::PAGE_BATCHES_MAX)?;
                    read.limit_param = if name == "limit" { "limit" } else { "per_page" };
                }
                "starting_after" => continued(Place::After)?,
                "ending_before" => continued(Place::Before)?,
                "created" => {
                    let at = seconds(name, &value)?;
                    (*least, *most) = ((*least).max(at), (*most).min(at));
                }
                "created[gt]" => *least = (*least).max(seconds(name, &value)?.saturating_add(1)),
                "created[gte]" => *least = (*least).max(seconds(name, &value)?),
                // Nothing was made before all time.
                "created[lt]" => match seconds(name, &value)?.checked_sub(1) {
                    Some(last) => *most = (*most).min(last),
                    None => (*least, *most) = (1, 0),
                },
                "created[lte]" => *most = (*most).min(seconds(name, &value)?),
                _ => {}
            }
        }
        // Who goes on from a batch has counted no pages, whatever its client sends by itself.
        read.place = cursor.unwrap_or(Place::Page(page));
        Ok(read)
    }

    /// The batches that the page is of, whether the latest come first, and how many of them stand on pages before;
    /// nothing where no batch can be.
    pub fn range(&self) -> Option<(BatchRange, bool, usize)> {
        let BatchRange { least, most } = batches_made(self.created.least, self.created.most)?;
        Some(match &self.place {
            Place::Page(page) => (BatchRange { least, most }, true, (page - 1) * self.limit),
            Place::After(id) => (BatchRange { least, most: most.min(id.previous()?) }, true, 0),
            Place::Before(id) => (BatchRange { least: least.max(id.next()?), most }, false, 0),
        })
    }
}

/// From 1 to `most`.
fn number(name: &str, value: &str, most: usize) -> Result<usize, ApiError> {
    let number = value.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| ApiError::invalid(name, format!("{name} must be 1 to {most}.")))
}

fn seconds(name: &str, value: &str) -> Result<u64, ApiError> {
    value.parse().map_err(|_| ApiError::invalid(name, format!("{name} must be a time in Unix seconds.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_the_parameter_at_fault_is_named() {
        let all = Created { least: 0, most: u64::MAX };
        let read = ListQuery::read("").unwrap();
        assert_eq!((read.limit, read.place, read.created, read.app), (10, Place::Page(1), all, None));
        let read =
            ListQuery::read("app=app_1&page=3&per_page=100&created%5Bgt%5D=5&created[lte]=9&x=y").unwrap();
        assert_eq!((read.app.as_deref(), read.limit, read.place), (Some("app_1"), 100, Place::Page(3)));
        assert_eq!(read.created, Created { least: 6, most: 9 });
        let read = ListQuery::read("limit=5&starting_after=151608161453545122").unwrap();
        assert_eq!(read.place, Place::After("151608161453545122".parse().unwrap()));
        assert_eq!(ListQuery::read("created[lt]=0").unwrap().range(), None);
        let read = ListQuery::read("ending_before=151608161453545122&created=1471359600").unwrap();
        let (range, latest_first, _) = read.range().unwrap();
        let bounds = (range.least.as_str(), range.most.as_str());
        assert_eq!((bounds, latest_first), (("151608162300000000", "151608162300009999"), false));
        for query in [
            "created[lt]=0&created[lte]=9",
            "created[lte]=9&created[lt]=0",
            "created[gt]=5&created[gte]=0&created[lte]=5",
        ] {
            assert_eq!(ListQuery::read(query).unwrap().range(), None, "{query}");
        }
        for query in ["page=2&starting_after=151608161453545122", "starting_after=151608161453545122&page=2"]
        {
            assert!(matches!(ListQuery::read(query).unwrap().place, Place::After(_)), "{query}");
        }
        for (query, param) in [
            ("starting_after=151608161453545122&ending_before=151608161453545122", "ending_before"),
            ("page=0", "page"),
            ("per_page=101", "per_page"),
            ("limit=x", "limit"),
            ("created[gte]=-1", "created[gte]"),
            ("starting_after=", "starting_after"),
        ] {
            assert_eq!(ListQuery::read(query).unwrap_err().param.as_deref(), Some(param), "{query}");
        }
    }
}
