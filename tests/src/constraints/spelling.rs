//! JSON as a constraint lets it be written: one space behind colons and commas, keys in the schema's order, which an instance
//! does not know, so it is spelled in every order there is.

use serde_json::Value;

/// More spellings than these are not tried.
const MOST: usize = 120;

/// The value's spellings; the first has its keys as they stand. None when there are too many.
pub fn spellings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(items) => {
            let items = items.iter().map(spellings).collect::<Option<Vec<_>>>()?;
            let lists = products(&items)?;
            Some(
                lists
                    .iter()
                    .map(|items| format!("[{}]", items.join(", ")))
                    .collect(),
            )
        }
        Value::Object(members) => {
            let members = members
                .iter()
                .map(|(key, value)| {
                    let key = Value::from(key.as_str());
                    let values = spellings(value)?;
                    Some(
                        values
                            .iter()
                            .map(|value| format!("{key}: {value}"))
                            .collect(),
                    )
                })
                .collect::<Option<Vec<Vec<String>>>>()?;
            let mut all = Vec::new();
            for order in orders(members.len())? {
                let ordered: Vec<Vec<String>> =
                    order.iter().map(|at| members[*at].clone()).collect();
                let lists = products(&ordered)?;
                all.extend(
                    lists
                        .iter()
                        .map(|members| format!("{{{}}}", members.join(", "))),
                );
                if all.len() > MOST {
                    return None;
                }
            }
            Some(all)
        }
        other => Some(vec![other.to_string()]),
    }
}

/// All orders of so many things, the given one first.
fn orders(count: usize) -> Option<Vec<Vec<usize>>> {
    let mut orders = vec![vec![]];
    for _ in 0..count {
        let longer = orders.iter().flat_map(|order: &Vec<usize>| {
            let left = (0..count).filter(|at| !order.contains(at));
            left.map(|at| [order.as_slice(), &[at]].concat())
                .collect::<Vec<_>>()
        });
        orders = longer.collect();
        if orders.len() > MOST {
            return None;
        }
    }
    Some(orders)
}

/// One of each list, in every way.
fn products(lists: &[Vec<String>]) -> Option<Vec<Vec<String>>> {
    let mut products = vec![vec![]];
    for list in lists {
        if products.len() * list.len() > MOST {
            return None;
        }
        let longer = products.iter().flat_map(|product: &Vec<String>| {
            list.iter().map(move |one| {
                let mut longer = product.clone();
                longer.push(one.clone());
                longer
            })
        });
        products = longer.collect();
    }
    Some(products)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_stand_in_every_order() {
        let value = json!({"a": [1, 2.0], "b": {"c": "é\n"}});
        let wanted = [
            r#"{"a": [1, 2.0], "b": {"c": "é\n"}}"#,
            r#"{"b": {"c": "é\n"}, "a": [1, 2.0]}"#,
        ];
        assert_eq!(spellings(&value).unwrap_or_default(), wanted);
        let wide: Value = (0..9).map(|key| (key.to_string(), json!(key))).collect();
        assert_eq!(spellings(&wide), None);
    }
}
