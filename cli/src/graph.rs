//! `wfg graph`: a workflow's graph as text for other programs, or as a picture.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use clap::{Args, ValueEnum};
use engine::{plan, view};
use layout::backends::svg::SVGWriter;
use layout::core::base::Orientation;
use layout::core::color::Color;
use layout::core::geometry::Point;
use layout::core::style::StyleAttr;
use layout::std_shapes::shapes::{Arrow, Element, ShapeKind};
use layout::topo::layout::VisualGraph;
use protocol::WorkflowId;
use protocol::page::Graph;

use crate::context::{Context, WorkflowArg};
use crate::failure::Failure;
use crate::screen::eprint;
use crate::submit::checked;
use crate::text::clean;

/// Programs that show Mermaid stop at 500 edges, unless they are told otherwise.
const MERMAID_EDGES: usize = 400;
/// The library that lays out a picture takes minutes for more boxes.
const SVG_BOXES: usize = 200;
/// The font size of a picture, and the size of a character and of the space around a text.
const FONT: usize = 14;
const CHARACTER: (f64, f64) = (8., 20.);
const AROUND: f64 = 16.;

#[derive(Args)]
pub struct GraphArgs {
    /// A definition, YAML or JSON (`-` is standard input), or a workflow: its id, the beginning of it, or `last`
    #[arg(value_name = "FILE|ID")]
    what: String,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    /// Show each job; without it, jobs that look alike are one box
    #[arg(long)]
    all: bool,
}

/// The language of a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Mermaid, which GitHub and many editors show
    Mermaid,
    /// Graphviz
    Dot,
    /// A picture
    Svg,
}

impl GraphArgs {
    /// Prints the graph of a file or of a workflow's current run.
    pub async fn run(self, context: &Context) -> Result<(), Failure> {
        let graph = if self.names_a_file() {
            let (_, definition) = checked(&context.screen, &self.what, "there is no graph")?;
            let jobs = plan::planned(&definition);
            view::graph::of(1, jobs.iter().map(|job| (&job.id, &job.spec)))
        } else {
            let id = WorkflowId::new(&self.what).map_err(|error| {
                Failure::Usage(format!("there is no file {}, and it is no workflow: {error}.", clean(&self.what)))
            })?;
            let (remote, id) = context.workflow(&WorkflowArg::of(id)).await?;
            remote.client.graph(&id).await?
        };
        let boxes = Boxes::of(&graph, self.all);
        let text = match self.format {
            Format::Mermaid => {
                if boxes.edges.len() > MERMAID_EDGES {
                    eprint(&format!(
                        "warning: {} edges; many programs that show Mermaid stop at 500{}",
                        boxes.edges.len(),
                        if self.all {
                            ", and without --all there may be fewer"
                        } else {
                            "; --format dot has no such limit"
                        }
                    ));
                }
                boxes.mermaid()
            }
            Format::Dot => boxes.dot(),
            Format::Svg => boxes.svg()?,
        };
        context.screen.print(&text)
    }

    fn names_a_file(&self) -> bool {
        let path = Path::new(&self.what);
        let extension =
            path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|one| extension == *one));
        self.what == "-" || extension || self.what.contains('/') || path.is_file()
    }
}

/// What is drawn.
struct Boxes {
    /// The text of each box, and whether it is a stack.
    texts: Vec<(String, bool)>,
    /// Pairs of boxes, one that is needed and one that needs it, each once.
    edges: Vec<(usize, usize)>,
}

impl Boxes {
    fn of(graph: &Graph, all: bool) -> Self {
        let mut sizes = vec![0_usize; graph.stacks.len()];
        for stack in graph.jobs.iter().filter_map(|job| job.4) {
            sizes[stack as usize] += 1;
        }
        let (mut texts, mut of_stack) = (Vec::new(), BTreeMap::new());
        let mut box_of = Vec::with_capacity(graph.jobs.len());
        for job in &graph.jobs {
            let stack = job.4.filter(|_| !all);
            let at = stack.and_then(|stack| of_stack.get(&stack).copied()).unwrap_or_else(|| {
                let text = match stack {
                    Some(stack) => format!("{} ×{}", graph.stacks[stack as usize], sizes[stack as usize]),
                    None => job.1.clone().unwrap_or_else(|| job.0.to_string()),
                };
                texts.push((clean(&text), stack.is_some()));
                texts.len() - 1
            });
            of_stack.extend(stack.map(|stack| (stack, at)));
            box_of.push(at);
        }
        let pairs = graph.jobs.iter().zip(&box_of).flat_map(|(job, to)| {
            let box_of = &box_of;
            job.2.iter().map(move |need| (box_of[*need as usize], *to))
        });
        let mut edges: Vec<(usize, usize)> = pairs.collect();
        edges.sort_unstable();
        edges.dedup();
        Self { texts, edges }
    }

    fn mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        for (at, (name, is_stack)) in self.texts.iter().enumerate() {
            let (open, close) = if *is_stack { ("[[", "]]") } else { ("[", "]") };
            let _ = writeln!(text, "  n{at}{open}\"{}\"{close}", mermaid_text(name));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  n{from} --> n{to}");
        }
        text
    }

    fn dot(&self) -> String {
        let mut text = "digraph {\n  rankdir=LR\n  node [shape=box]\n".to_owned();
        for (at, (name, is_stack)) in self.texts.iter().enumerate() {
            let more = if *is_stack { ", peripheries=2" } else { "" };
            let _ = writeln!(text, "  n{at} [label=\"{}\"{more}]", name.replace('\\', "\\\\").replace('"', "\\\""));
        }
        for (from, to) in &self.edges {
            let _ = writeln!(text, "  n{from} -> n{to}");
        }
        text + "}\n"
    }

    fn svg(&self) -> Result<String, Failure> {
        let count = self.texts.len();
        if count > SVG_BOXES {
            let message = format!(
                "the graph has {count} boxes; a picture may have {SVG_BOXES}. Take --format dot, and draw it with Graphviz: wfg graph … --format dot | dot -Tsvg"
            );
            return Err(Failure::Usage(message));
        }
        let mut graph = VisualGraph::new(Orientation::LeftToRight);
        let nodes: Vec<_> =
            self.texts.iter().map(|(name, is_stack)| graph.add_node(element(name, *is_stack))).collect();
        for &(from, to) in &self.edges {
            graph.add_edge(Arrow::simple(""), nodes[from], nodes[to]);
        }
        let mut svg = SVGWriter::new();
        if count > 0 {
            graph.do_it(false, false, false, &mut svg);
        }
        Ok(svg.finalize() + "\n")
    }
}

fn element(name: &str, is_stack: bool) -> Element {
    let fill = Color::new(if is_stack { 0xe4e4_e4ff } else { 0xffff_ffff });
    let look = StyleAttr::new(Color::new(0x0000_00ff), 1, Some(fill), 0, FONT);
    let width = unicode_width::UnicodeWidthStr::width(name);
    #[allow(clippy::cast_precision_loss, reason = "a name has at most a few thousand characters")]
    let size = Point::new(width as f64 * CHARACTER.0 + AROUND, CHARACTER.1 + AROUND);
    Element::create(ShapeKind::new_box(name), look, Orientation::LeftToRight, size)
}

/// A text in quotes. Mermaid reads Markdown and HTML there, so that all but plain characters are written as numbers.
fn mermaid_text(name: &str) -> String {
    let mut text = String::new();
    for character in name.chars() {
        if character.is_alphanumeric() || " -_.,:/()*×".contains(character) {
            text.push(character);
        } else {
            let _ = write!(text, "#{};", u32::from(character));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes(yaml: &str, all: bool) -> Boxes {
        let jobs = plan::planned(&workflow::from_yaml(yaml).expect("a definition"));
        Boxes::of(&view::graph::of(1, jobs.iter().map(|job| (&job.id, &job.spec))), all)
    }

    /// One job, this many that need it, and one that needs them.
    fn fan(width: usize) -> String {
        let middle = |n| format!("  shard-{n}: {{run: x, needs: plan}}\n");
        let needs: Vec<String> = (0..width).map(|n| format!("shard-{n}")).collect();
        let middle: String = (0..width).map(middle).collect();
        format!("jobs:\n  plan: {{run: x}}\n{middle}  merge: {{run: x, needs: [{}]}}\n", needs.join(", "))
    }

    #[test]
    fn jobs_that_look_alike_are_one_box_unless_all_are_wanted() {
        let text = boxes(&fan(5), false).mermaid();
        let expected =
            "flowchart LR\n  n0[\"plan\"]\n  n1[[\"shard-* ×5\"]]\n  n2[\"merge\"]\n  n0 --> n1\n  n1 --> n2\n";
        assert_eq!(text, expected);
        let all = boxes(&fan(5), true);
        assert_eq!((all.texts.len(), all.edges.len()), (7, 10));
        assert!(boxes(&fan(5), false).dot().contains("  n1 [label=\"shard-* ×5\", peripheries=2]\n"));
    }

    #[test]
    fn names_can_not_break_out_of_a_graph() {
        let yaml = "jobs: {a: {name: \"x\\\"] <b> \\\\ & `c` \\u001b[2J\\n%% d\", run: x}}";
        let boxes = boxes(yaml, false);
        let mermaid = boxes.mermaid();
        assert_eq!(mermaid.lines().count(), 2, "{mermaid}");
        assert_eq!(mermaid.matches('"').count(), 2, "{mermaid}");
        assert!(!mermaid.contains(['<', '`', '\u{1b}']), "{mermaid}");
        let dot = boxes.dot();
        assert!(dot.contains("x\\\"] <b> \\\\") && dot.lines().count() == 5 && !dot.contains('\u{1b}'), "{dot}");
        let svg = boxes.svg().expect("a picture");
        assert!(svg.contains("&lt;b&gt;") && !svg.contains("<b>"), "{svg}");
    }

    #[test]
    fn picture_of_more_than_200_boxes_is_refused_with_the_way_out() {
        let error = boxes(&fan(199), true).svg().expect_err("201 boxes").to_string();
        assert!(error.contains("201 boxes") && error.contains("200") && error.contains("--format dot"), "{error}");
        let svg = boxes(&fan(199), false).svg().expect("three boxes");
        assert!(svg.contains("<svg") && svg.contains("shard-* ×199"), "{svg}");
    }
}
