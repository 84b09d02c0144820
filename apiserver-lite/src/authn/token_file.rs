//! `--token-auth-file`: static tokens, one `token,user,uid,"group,group"` a line.

use kedge_api::Identity;
use kedge_apiserver_core::authentication::AUTHENTICATED;
use std::collections::HashMap;

#[derive(Debug, Default)]
pub struct TokenFile {
    by_token: HashMap<String, Identity>,
}

impl TokenFile {
    /// Errors name the line.
    pub fn parse(text: &str) -> Result<TokenFile, String> {
        let mut by_token = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| format!("line {}: {what}", number + 1);
            let fields = fields(line).ok_or_else(|| wrong("a quote that does not end"))?;
            let [token, user, uid, rest @ ..] = fields.as_slice() else {
                return Err(wrong("expected token,user,uid and perhaps \"groups\""));
            };
            if token.is_empty() {
                return Err(wrong("an empty token"));
            }
            let groups = rest.first().map(String::as_str).unwrap_or_default().split(',').map(str::trim);
            let mut groups: Vec<String> =
                groups.filter(|group| !group.is_empty()).map(str::to_owned).collect();
            groups.push(AUTHENTICATED.to_owned());
            let identity = Identity { user: user.clone(), uid: uid.clone(), groups, ..Identity::default() };
            by_token.insert(token.clone(), identity);
        }
        Ok(TokenFile { by_token })
    }

    pub fn get(&self, token: &str) -> Option<&Identity> {
        self.by_token.get(token)
    }
}

/// The fields of a CSV line: quoted ones may hold commas, and `""` for a quote. None: a quote is left open.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let field = fields.last_mut().expect("there is always a last field");
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            ' ' if !quoted && field.is_empty() => {}
            c => field.push(c),
        }
    }
    (!quoted).then_some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let file =
            TokenFile::parse("t1,admin,1,\"system:masters, dev\"\n\n# note\nt2, jane,2\nt3,joe,3,ops\n")
                .unwrap();
        let groups = |token: &str| file.get(token).unwrap().groups.join(" ");
        assert_eq!(groups("t1"), "system:masters dev system:authenticated");
        assert_eq!(groups("t2"), "system:authenticated");
        assert_eq!(groups("t3"), "ops system:authenticated");
        assert_eq!(file.get("t2").unwrap().user, "jane");
        assert!(file.get("t4").is_none());
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = |text: &str| TokenFile::parse(text).unwrap_err();
        assert_eq!(error("a,b,c\nx,y"), "line 2: expected token,user,uid and perhaps \"groups\"");
        assert_eq!(error(",b,c"), "line 1: an empty token");
        assert_eq!(error("a,b,c,\"d"), "line 1: a quote that does not end");
    }
}
